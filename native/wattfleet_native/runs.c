/* Samples of a series behind each other, as Prometheus remote write: one TimeSeries of protobuf per household and
 * socket. Numbers of fields and types are those of prompb/remote.proto and types.proto.
 *
 * The caller has checked that every row and column is inside of its array, that times fit into TIME_BYTES and that
 * there is room; see runs.py. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    SERIES = 0x0a, LABEL = 0x0a, NAME = 0x0a, TEXT = 0x12, SAMPLE = 0x12, VALUE = 0x09, TIME = 0x10,
    TIME_BYTES = 6, /* as a varint of this width, however small: so all samples have the same size */
    VALUE_AT = 3,
    TIME_AT = VALUE_AT + sizeof(double) + 1,
    SAMPLE_BYTES = TIME_AT + TIME_BYTES,
    MOST_LABEL_BYTES = 160, /* of a metric of 40, a household of 28 and a number of 20 characters: 129 */
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "protobuf's doubles are copied as they are");

static const double DECI = 10.0;

static uint8_t *put_varint(uint8_t *out, size_t number) {
    for (; number > 0x7f; number >>= 7) *out++ = (uint8_t)(number | 0x80);
    *out++ = (uint8_t)number;
    return out;
}

static uint8_t *put_bytes(uint8_t *out, const void *bytes, size_t count) {
    memcpy(out, bytes, count);
    return out + count;
}

/* Names and values are so short that each length is one byte. */
static uint8_t *put_label(uint8_t *out, const char *name, const char *value, size_t value_bytes) {
    const size_t name_bytes = strlen(name);
    *out++ = LABEL;
    *out++ = (uint8_t)(4 + name_bytes + value_bytes);
    *out++ = NAME;
    *out++ = (uint8_t)name_bytes;
    out = put_bytes(out, name, name_bytes);
    *out++ = TEXT;
    *out++ = (uint8_t)value_bytes;
    return put_bytes(out, value, value_bytes);
}

static uint8_t *put_socket(uint8_t *out, size_t number) {
    char digits[20];
    size_t first = sizeof digits;
    for (; number; number /= 10) digits[--first] = (char)('0' + number % 10);
    return put_label(out, "socket", digits + first, sizeof digits - first);
}

static void put_sample(uint8_t *out, uint64_t time_ms) {
    static const uint8_t before_value[VALUE_AT] = {SAMPLE, SAMPLE_BYTES - 2, VALUE};
    memcpy(out, before_value, sizeof before_value);
    out[TIME_AT - 1] = TIME;
    for (size_t i = 0; i < TIME_BYTES; i++, time_ms >>= 7)
        out[TIME_AT + i] = (uint8_t)((time_ms & 0x7f) | (i + 1 < TIME_BYTES ? 0x80 : 0));
}

static void put_values(uint8_t *restrict samples, const int32_t *restrict power_dw, size_t sockets, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const double power_w = power_dw[i * sockets] / DECI;
        memcpy(samples + i * SAMPLE_BYTES + VALUE_AT, &power_w, sizeof power_w);
    }
}

/* The series of households[firsts[i]] have counts[i] samples, of the messages from row firsts[i] on; columns[j] comes
 * as the j-th of them. Returns how many bytes were written. */
size_t wattfleet_write_runs(
    uint8_t *out, const char *metric, const char *households, size_t household_bytes, const uint64_t *time_ms,
    const int32_t *power_dw, const int64_t *columns, size_t sockets, const int64_t *firsts, const int64_t *counts,
    size_t homes
) {
    const uint8_t *const begin = out;
    for (size_t home = 0; home < homes; home++) {
        const size_t first = (size_t)firsts[home], count = (size_t)counts[home], size = count * SAMPLE_BYTES;
        const char *const household = households + first * household_bytes;
        uint8_t labels[MOST_LABEL_BYTES], *end = put_label(labels, "__name__", metric, strlen(metric));
        uint8_t *const socket = put_label(end, "household", household, strnlen(household, household_bytes));
        const uint8_t *samples = NULL;
        for (size_t column = 0; column < sockets; column++) {
            end = put_socket(socket, (size_t)columns[column] + 1);
            *out++ = SERIES;
            out = put_varint(out, (size_t)(end - labels) + size);
            out = put_bytes(out, labels, (size_t)(end - labels));
            /* Those of the first socket, but for their values, are those of all. */
            if (samples) memcpy(out, samples, size);
            else for (size_t i = 0; i < count; i++) put_sample(out + i * SAMPLE_BYTES, time_ms[first + i]);
            put_values(out, power_dw + first * sockets + columns[column], sockets, count);
            samples = out;
            out += size;
        }
    }
    return (size_t)(out - begin);
}
