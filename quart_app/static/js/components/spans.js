// The time of a call cut into spans on one axis: what it waited for, its attempts, and the phases of each.
import { secondsOf } from "../format.js"
import { waitOf } from "./waits.js"

const PHASES = [
  ["dns", "Finding the host"],
  ["connect", "Connecting"],
  ["tls", "Encrypting"],
  ["first_byte", "Until the first byte"],
  ["transfer", "Receiving"],
]
const NOTHING_SECONDS = 0.0005

/** {whole, groups}: seconds of the axis, and for each attempt (or a wait that led to none) its spans {kind, label, start, seconds}. */
export function spansOf(call) {
  const began = secondsOf(call.started_at)
  const groups = (call.attempts ?? []).map((attempt) => groupOf(attempt, Math.max(0, secondsOf(attempt.started_at) - began)))
  if (!groups.length && call.waited_seconds) groups.push({ attempt: null, spans: [{ kind: "wait", label: "its turn never came", start: 0, seconds: call.waited_seconds }] })
  const ends = groups.flatMap(({ spans }) => spans.map(({ start, seconds }) => start + seconds))
  return { whole: Math.max(call.duration_seconds ?? 0, ...ends, 0.000001), groups }
}

function groupOf(attempt, start) {
  const { waited_seconds: waited = 0, duration_seconds: seconds } = attempt
  const before = Math.min(waited, start)
  const wait = waited > NOTHING_SECONDS ? [{ kind: "wait", label: waitOf(attempt.wait_reason).label, start: start - before, seconds: waited }] : []
  return { attempt, spans: [...wait, { kind: "attempt", start, seconds }, ...phasesOf(attempt, start)] }
}

/** What a failed attempt spent beyond its known phases is the wait for what never came. */
function phasesOf({ timings = {}, duration_seconds, reason, status }, start) {
  const phases = []
  for (const [kind, label] of PHASES) {
    const seconds = timings[kind]
    if (seconds == null) continue
    phases.push({ kind, label: status === 101 && kind === "transfer" ? "Open" : label, start, seconds })
    start += seconds
  }
  const rest = duration_seconds - phases.reduce((sum, { seconds }) => sum + seconds, 0)
  if (reason && status == null && rest > NOTHING_SECONDS) phases.push({ kind: "lost", label: "Nothing came", start, seconds: rest })
  return phases
}
