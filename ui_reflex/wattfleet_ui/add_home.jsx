// What only the browser knows of a new home's place, and looking again until the home is there.
import { useEffect, useState } from "react";

const AGAIN_MS = 4_000;

// A list of all time zones, with the visitor's own one chosen. The page is rendered ahead, where nobody's zone is known.
export function TimeZoneSelect({ name, label }) {
  const [zones, setZones] = useState([]);
  const [zone, setZone] = useState("");
  useEffect(() => {
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    setZones([...new Set([...Intl.supportedValuesOf("timeZone"), own])].sort());
    setZone(own);
  }, []);
  return (
    <select
      className="wf-select"
      name={name}
      aria-label={label}
      required
      value={zone}
      onChange={(event) => setZone(event.target.value)}
    >
      {zones.map((known) => (
        <option key={known} value={known}>
          {known.replaceAll("_", " ")}
        </option>
      ))}
    </select>
  );
}

// Shows nothing: asks for another look every few seconds, as long as somebody sees the page.
export function LookAgain({ onAgain }) {
  useEffect(() => {
    const timer = setInterval(() => document.hidden || onAgain?.(), AGAIN_MS);
    return () => clearInterval(timer);
  }, []);
  return null;
}
