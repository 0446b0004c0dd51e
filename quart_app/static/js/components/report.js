// A deed's way on the page: the button is busy, the place beside it says what is going on, then what came of it.
import { announce, busy, el, fill } from "../dom.js"
import { problemNotice } from "./notice.js"

/** `work` gives the notice to show. */
export async function report(control, place, meanwhile, work) {
  fill(place, el("p", { class: "faint" }, meanwhile))
  try {
    fill(place, await busy(control, work))
  } catch (error) {
    fill(place, problemNotice(error))
    announce(error.message)
  }
}
