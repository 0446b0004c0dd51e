// What the page knows of the secrets that connections have now: their fingerprints, asked once for a while.
import { get } from "../api.js"
import { fingerprintsIn } from "./redaction.js"

const KEPT_MILLISECONDS = 15_000
const known = new Map()

/** A promise of the Map of role to fingerprints; null for a connection that is gone. */
export function fingerprintsOf(name) {
  if (!known.has(name)) {
    known.set(name, get(`/api/connections/${encodeURIComponent(name)}`).then(fingerprintsIn, () => null))
    setTimeout(() => known.delete(name), KEPT_MILLISECONDS)
  }
  return known.get(name)
}
