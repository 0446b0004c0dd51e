// Back from a provider: goes on to the connection; where the sign-in failed, takes code and state out of the address.
import { byId } from "../dom.js"

export function start() {
  if (byId("authorization").dataset.done === undefined) history.replaceState(null, "", location.pathname)
  else location.replace(byId("go-on").href)
}
