/* Fields that are in the same places of many messages, each of them copied into a column of its own. The caller vouches
 * for every message's being there with as many bytes as all of this reads; see fields.py. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { AHEAD = 8, LINE_BYTES = 64 };

static uint8_t has_tags(const uint8_t *message, const int64_t *places, const uint8_t *tags, size_t count) {
    uint8_t differences = 0;
    for (size_t i = 0; i < count; i++) differences |= (uint8_t)(message[places[i]] ^ tags[i]);
    return !differences;
}

/* ours[i]: whether the message at messages[i] has each of `tags` in its place. From places[k] on it has widths[k] bytes,
 * which are copied into columns[k]. */
void wattfleet_read_fields(
    uint8_t *ours, uint8_t *const *columns, const uint8_t *const *messages, size_t count, size_t message_bytes,
    const int64_t *tag_places, const uint8_t *tags, size_t tag_count, const int64_t *places, const int64_t *widths,
    size_t field_count
) {
    for (size_t i = 0; i < count; i++) {
        /* The next ones are looked for in memory while this one is copied. */
        if (i + AHEAD < count)
            for (size_t at = 0; at < message_bytes; at += LINE_BYTES) __builtin_prefetch(messages[i + AHEAD] + at);
        ours[i] = has_tags(messages[i], tag_places, tags, tag_count);
        for (size_t field = 0; field < field_count; field++) {
            const size_t width = (size_t)widths[field];
            memcpy(columns[field] + i * width, messages[i] + places[field], width);
        }
    }
}
