// Plain values to what a person reads.

export function bytes(size) {
  if (size == null) return "–"
  if (size < 1000) return `${size} B`
  const unit = Math.min(4, Math.floor(Math.log10(size) / 3))
  return `${number(size / 1000 ** unit)} ${["B", "kB", "MB", "GB", "TB"][unit]}`
}

export function duration(seconds) {
  if (seconds == null) return "–"
  if (seconds < 0.0095) return `${number(seconds * 1000)} ms`
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 60) return `${number(seconds)} s`
  const rest = Math.round(seconds % 60)
  return `${Math.floor(seconds / 60)} min${rest ? ` ${rest} s` : ""}`
}

function number(value) {
  return value < 10 ? value.toFixed(1).replace(/\.0$/, "") : String(Math.round(value))
}

/** The time of day if it was today, else with the date. */
export function moment(instant) {
  const date = new Date(instant)
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false })
  const today = date.toDateString() === new Date().toDateString()
  return today ? time : `${date.toLocaleDateString([], { month: "short", day: "numeric" })} ${time}`
}

/** Seconds since the epoch, to the microsecond that the API gives; Date alone knows milliseconds. */
export function secondsOf(instant) {
  const [, whole, fraction = ""] = /^([^.Z]+)(\.\d+)?Z$/.exec(instant)
  return Date.parse(`${whole}Z`) / 1000 + Number(`0${fraction}`)
}

/** How long until an instant, in words; null once it has passed. */
export function until(instant) {
  const seconds = secondsOf(instant) - Date.now() / 1000
  return seconds > 0 ? `in ${duration(Math.max(1, Math.ceil(seconds)))}` : null
}

/** Path and query of a URL, for lists in which the host is known. */
export function pathOf(url) {
  const start = url.indexOf("/", url.indexOf("://") + 3)
  return start < 0 ? "/" : url.slice(start)
}

/** Text of a stranger: characters that turn the reading direction or move a cursor are written out, so nothing hides. */
export function visible(text) {
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, escaped)
}

function escaped(character) {
  if (character === "\r") return ""
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`
}
