// What a WebSocket carried, and how it closed (RFC 6455 §7.4).
import { el } from "../dom.js"
import { bytes, plural } from "../format.js"

const CODES = {
  1000: "it was done",
  1001: "one side was going away, such as a page that was left or a server that stopped",
  1002: "a protocol error",
  1003: "a kind of data the other side does not take",
  1005: "no reason was given",
  1006: "the line broke without a goodbye",
  1007: "text that was not valid",
  1008: "against the other side’s rules",
  1009: "a message that was too big",
  1010: "an extension was missing",
  1011: "a fault on the server’s side",
  1012: "the service was restarting",
  1013: "the service asked to try again later",
  1014: "a gateway got a bad answer",
  1015: "the encrypted connection could not be made",
}
const WHO = { caller: "The caller closed it", upstream: "The API closed it", switchboard: "Switchboard closed it" }

export function websocketView(carried) {
  const { frames_sent, frames_received, bytes_sent, bytes_received } = carried
  const facts = [
    ["To the API", `${plural(frames_sent, "frame")}, ${bytes(bytes_sent)}`],
    ["From the API", `${plural(frames_received, "frame")}, ${bytes(bytes_received)}`],
    ["How it ended", ending(carried)],
  ]
  return el("dl", { class: "facts", "aria-label": "WebSocket" }, facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))
}

function ending({ close_code: code, closed_by: who }) {
  if (code == null && who == null) return "It is open, or nobody saw it close."
  const why = code == null ? "" : ` with code ${code}: ${CODES[code] ?? "a code of the API’s own"}`
  return `${WHO[who] ?? "It closed"}${why}.`
}
