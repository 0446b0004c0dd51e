// The disk meter: how much of the history is kept, on how much disk, and when it starts to drop the oldest.
import { get } from "../api.js"
import { el, fill } from "../dom.js"
import { bytes, moment, plural } from "../format.js"
import { meter } from "./meter.js"
import { whileSeen } from "./poll.js"

const EVERY_SECONDS = 20

export function startStorage(place) {
  whileSeen(place, EVERY_SECONDS, async () => {
    try {
      show(place, await get("/api/storage"))
    } catch (error) {
      if (error.problem?.status === 404 || error.problem?.status === 405) { fill(place); return false }
    }
  })
}

function show(place, storage) {
  const open = place.querySelector("details")?.open
  const focused = place.contains(document.activeElement)
  const fullest = Math.max(...limitsOf(storage).map(({ share }) => share), 0)
  fill(place, el("details", { class: "storage", open },
    el("summary", {}, `${count(storage.calls)} kept, ${bytes(storage.database_bytes)} on disk `,
      fullest ? meter(fullest, "How full the history is") : null,
      fullest >= 1 ? el("span", {}, " The oldest are dropped as new ones come.") : null),
    el("dl", { class: "facts" }, linesOf(storage).flatMap(([name, says]) => [el("dt", {}, name), el("dd", {}, says)]))))
  if (focused) place.querySelector("summary").focus()
}

const count = (calls) => `${calls.toLocaleString("en")} ${calls === 1 ? "call" : "calls"}`

function limitsOf({ calls, database_bytes, keep_calls, keep_bytes }) {
  return [
    keep_calls ? { share: calls / keep_calls } : null,
    keep_bytes ? { share: database_bytes / keep_bytes } : null,
  ].filter(Boolean)
}

function linesOf(storage) {
  const { keep_days: days, keep_calls: calls, keep_bytes: size, search } = storage
  const rules = [days ? `after ${plural(days, "day")}` : null, calls ? `beyond ${count(calls)}` : null, size ? `beyond ${bytes(size)}` : null].filter(Boolean)
  return [
    ["Oldest call", storage.oldest_at ? moment(storage.oldest_at) : "none"],
    ["Dropped", rules.length ? `${rules.join(", or ")}; the oldest first` : "never: nothing sets a limit, so the disk fills"],
    ["Free on the disk", bytes(storage.free_bytes)],
    storage.wal_bytes ? ["Not yet folded in", bytes(storage.wal_bytes)] : null,
    ["Search", searchWords(search)],
  ].filter(Boolean)
}

function searchWords(search) {
  if (!search) return "over the URLs only"
  return search.behind ? `${count(search.behind)} cannot be found by their words yet; that is being made up for` : "every call can be found by its words"
}
