// One call in the list.
import { el } from "../dom.js"
import { duration, moment, pathOf, visible } from "../format.js"
import { callBadge } from "./badge.js"
import { marked } from "./secret_mark.js"

/** `search` goes on the link, so that an opened call keeps the list's filters. */
export function callRow(call, search = location.search) {
  return el("li", { class: "calls__item", dataset: { call: call.id, state: call.state, connection: call.connection } },
    el("a", { class: "call-row", href: `/history/${call.id}${search}` },
      el("span", { class: "call-row__badge" }, callBadge(call)),
      el("span", { class: "call-row__method data" }, visible(call.method)),
      el("span", { class: "call-row__url data", title: visible(call.url) }, marked(pathOf(call.url))),
      el("span", { class: "call-row__connection" }, visible(call.connection)),
      el("span", { class: "call-row__origin" }, visible(call.origin)),
      el("span", { class: "call-row__duration data" }, call.duration_seconds == null ? "" : duration(call.duration_seconds)),
      el("time", { class: "call-row__time data", datetime: call.started_at, title: new Date(call.started_at).toLocaleString() }, moment(call.started_at))))
}
