// How values are written. Times in Unix seconds, durations in seconds, scores in [0, 1].

const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat([], { day: "numeric", month: "short" });

/** Return "14:03:22". */
export const clock = (time) => CLOCK.format(time * 1000);

/** Return "14:03:22" of today, "3 Mar 14:03:22" of another day. */
export function moment(time) {
  const isToday = new Date(time * 1000).toDateString() === new Date().toDateString();
  return isToday ? clock(time) : `${DAY.format(time * 1000)} ${clock(time)}`;
}

/** Return "0.93". */
export const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

/** Return "4.2 s", "1:05", "2 h 10 min", "3 d 4 h". */
export function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(whole / unit));
  if (days) return `${days} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes % 60} min`;
  return `${minutes}:${String(whole % 60).padStart(2, "0")}`;
}

/** Return "780 ms" or "1.2 s". */
export const delay = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** Return "12,345". */
export const count = (n) => n.toLocaleString("en");

/** Return "4.2 MB" and the like. */
export function bytes(n) {
  if (n < 1000) return `${n} B`;
  return n < 1e6 ? `${Math.round(n / 1000)} kB` : `${(n / 1e6).toFixed(1)} MB`;
}

/** Return "1 source", "2 sources". */
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

/** Return the middle and the 95th percentile of numbers, or null of none. */
export function percentiles(numbers) {
  if (!numbers.length) return null;
  const sorted = [...numbers].sort((a, b) => a - b);
  const at = (q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  return { n: sorted.length, p50: at(0.5), p95: at(0.95) };
}
