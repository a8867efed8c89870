// Live power without a detour: one EventSource per page, straight from the gateway, shared by all parts that show it.
// A hidden tab closes the stream, so that no home is kept measuring every second for nobody.
import { useEffect, useSyncExternalStore } from "react";

const KEEP_MS = 30 * 60_000; // as long as the sparkline is
const SPACING_MS = 5_000; // live points closer than this replace each other: the line is 180 px wide
const GAP_MS = 170_000; // two missed minutes break the line; the newest stored one may be 152 s behind live
const STALE_MS = 30_000; // the gateway sends at least the minute's values every 10 s
const REFRESH_MS = 60_000; // one interval of readings

let feed = null;
const QUIET = { household: "", reading: null, status: "connecting", endings: 0, points: [] };

function createFeed(household) {
  let snapshot = { ...QUIET, household };
  const listeners = new Set();
  let source = null;
  let heardAt = Date.now();
  let timer = null;

  const publish = (change) => {
    snapshot = { ...snapshot, ...change };
    for (const listener of listeners) listener();
  };
  const onReading = (event) => {
    const reading = JSON.parse(event.data);
    heardAt = Date.now();
    publish({
      status: "open",
      reading: { ...reading, bySocket: new Map(reading.sockets.map((socket) => [socket.number, socket.power_w])) },
      points: withPoint(snapshot.points, reading),
    });
  };
  const open = () => {
    if (source || document.hidden) return;
    heardAt = Date.now();
    source = new EventSource(`/api/v1/households/${encodeURIComponent(household)}/live`);
    source.addEventListener("reading", onReading);
    source.onerror = () => {
      // CLOSED means that the gateway refused; otherwise the browser is already trying again.
      if (source?.readyState === EventSource.CLOSED) {
        close();
        publish({ status: "ended", endings: snapshot.endings + 1 });
      } else publish({ status: "lost" });
    };
  };
  const close = () => {
    source?.close();
    source = null;
  };
  const onVisibility = () => (document.hidden ? close() : open());
  const watch = () => {
    if (source && snapshot.status === "open" && Date.now() - heardAt > STALE_MS) publish({ status: "lost" });
    if (!source && snapshot.status === "ended") open();
  };
  return {
    household,
    snapshot: () => snapshot,
    subscribe(listener) {
      if (listeners.size === 0) {
        document.addEventListener("visibilitychange", onVisibility);
        timer = setInterval(watch, 10_000);
        open();
      }
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
        if (listeners.size > 0) return;
        document.removeEventListener("visibilitychange", onVisibility);
        clearInterval(timer);
        close();
      };
    },
  };
}

function withPoint(points, { at_ms, power_w }) {
  const last = points.at(-1);
  if (power_w === null || (last && at_ms < last.at_ms)) return points;
  const kept = last && points.length > 1 && at_ms - points.at(-2).at_ms < SPACING_MS ? points.slice(0, -1) : points;
  return [...kept.filter((point) => point.at_ms > at_ms - KEEP_MS), { at_ms, power_w }];
}

function useFeed(household) {
  if (typeof window !== "undefined" && household && feed?.household !== household) feed = createFeed(household);
  const current = household ? feed : null;
  return useSyncExternalStore(
    current ? current.subscribe : () => () => {},
    current ? current.snapshot : () => QUIET,
    () => QUIET,
  );
}

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const watts = (power) => (power === null || power === undefined ? "–" : whole.format(power));

const clock = (at_ms, timeZone, seconds) =>
  new Intl.DateTimeFormat("en-GB", {
    timeZone,
    hour: "2-digit",
    minute: "2-digit",
    second: seconds ? "2-digit" : undefined,
    hourCycle: "h23",
  }).format(at_ms);

function describe(status, reading, storedAtMs) {
  if (status === "lost" || status === "ended") return ["lost", "Power", "Reconnecting …"];
  if (!reading) return ["connecting", "Power", storedAtMs ? "Last minute; connecting …" : "Connecting …"];
  if (reading.power_w === null) return ["silent", "Power", "No reading in the last minutes"];
  if (reading.source === "live") return ["live", "Live power", "Measured this second"];
  return ["minute", "Power", "Mean of the last minute; not live"];
}

// Shows nothing: tells a page of the home when a minute has passed, and whenever the gateway refused the stream.
export function HomeWatch({ household, onMinute, onEnded }) {
  const { status, endings } = useFeed(household);
  useEffect(() => {
    if (status === "ended") onEnded?.();
  }, [status, endings]);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || onMinute?.(), REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  return null;
}

// The card's content: value, time, how fresh it is, and a line over the last half hour.
export function LivePower({ household, timeZone, stored, storedAtMs, recent }) {
  const { reading, status, points } = useFeed(household);
  const [state, label, note] = describe(status, reading, storedAtMs);
  const atMs = reading ? reading.at_ms : storedAtMs;
  return (
    <div className="wf-live" data-state={state} role="group" aria-label="Power now">
      <div className="wf-live-head">
        <span className="wf-live-dot" aria-hidden="true" />
        <span className="wf-live-label">{label}</span>
        {atMs ? (
          <time className="wf-live-time" dateTime={new Date(atMs).toISOString()}>
            {clock(atMs, timeZone, reading?.source === "live")}
          </time>
        ) : null}
      </div>
      <div className="wf-live-value">
        <span data-testid="live-power">{reading ? watts(reading.power_w) : stored}</span>
        <small>W</small>
      </div>
      <div className="wf-live-note">{note}</div>
      <Sparkline recent={recent} points={points} />
    </div>
  );
}

// The stored minutes first, then what this page heard since; a gap in time is a gap in the line.
function Sparkline({ recent, points }) {
  const [width, height] = [200, 44];
  const stored = (recent ?? []).filter((point) => !points.length || point.at_ms + 60_000 < points[0].at_ms);
  const line = [...stored.map(({ at_ms, power_w }) => ({ at_ms: at_ms + 30_000, power_w })), ...points];
  const known = line.filter((point) => point.power_w !== null);
  if (known.length < 2) return <div className="wf-spark" />;
  const end = known.at(-1).at_ms;
  const start = known.find((point) => point.at_ms >= end - KEEP_MS).at_ms;
  const top = Math.max(...known.map((point) => point.power_w), 1) * 1.08;
  const x = (point) => ((point.at_ms - start) / (end - start || 1)) * width;
  const y = (point) => height - 1 - (Math.max(point.power_w, 0) / top) * (height - 3);
  const runs = [];
  let previous = null;
  for (const point of line) {
    if (point.power_w === null || point.at_ms < start) continue;
    if (!previous || point.at_ms - previous.at_ms > GAP_MS) runs.push([]);
    runs.at(-1).push(`${x(point).toFixed(1)},${y(point).toFixed(1)}`);
    previous = point;
  }
  return (
    <svg
      className="wf-spark"
      viewBox={`0 0 ${width} ${height}`}
      preserveAspectRatio="none"
      role="img"
      aria-label="Power over the last 30 minutes"
    >
      {runs.map((run) => (
        <g key={run[0]}>
          <polygon points={`${run[0].split(",")[0]},${height} ${run.join(" ")} ${run.at(-1).split(",")[0]},${height}`} />
          <polyline points={run.join(" ")} vectorEffect="non-scaling-stroke" />
        </g>
      ))}
    </svg>
  );
}

// One socket's watts, wherever the page lists it; the stored value until the stream has spoken.
export function LiveSocketPower({ household, number, stored }) {
  const { reading } = useFeed(household);
  const power = reading?.bySocket.has(number) ? watts(reading.bySocket.get(number)) : stored;
  return (
    <span className="wf-number">
      {power}
      {power === "–" ? "" : <small> W</small>}
    </span>
  );
}
