// Two calls side by side: what differs, and what is to be left out of that.
import { get } from "../api.js"
import { announce, byId, el, fill } from "../dom.js"
import { duration, moment, plural, visible } from "../format.js"
import { callBadge } from "../components/badge.js"
import { diffList } from "../components/diff_list.js"
import { ignoredPaths } from "../components/ignored.js"
import { notice, showProblem } from "../components/notice.js"
import { marked } from "../components/secret_mark.js"

const [, , from, , to] = location.pathname.split("/")
let calls = []
let ignored = null
let asking = null

export async function start() {
  try {
    calls = await Promise.all([from, to].map((id) => get(`/api/calls/${id}`)))
    const [before, after] = calls
    fill(byId("diff-calls"), callView("Before", before), callView("After", after))
    ignored = ignoredPaths(before.connection, compare)
    fill(byId("diff-ignored"), ignored.element)
  } catch (error) {
    byId("diff-changes").removeAttribute("aria-busy")
    return showProblem(error)
  }
  await compare()
}

function callView(name, call) {
  return el("article", { class: "panel diff__call", "aria-label": name, dataset: { connection: call.connection } },
    el("p", { class: "change__label" }, name),
    el("p", {}, el("a", { class: "data", href: `/history/${call.id}` }, visible(call.method), " ", marked(call.url))),
    el("p", { class: "answer__facts" }, callBadge(call), el("span", { class: "data" }, duration(call.duration_seconds)), el("time", { datetime: call.started_at }, moment(call.started_at)), el("span", {}, visible(call.connection))))
}

async function compare() {
  asking?.abort()
  const mine = asking = new AbortController()
  byId("diff-changes").setAttribute("aria-busy", "true")
  const query = new URLSearchParams(ignored.read().map((path) => ["ignore", path]))
  try {
    show(await get(`/api/calls/${from}/diffs/${to}${query.size ? `?${query}` : ""}`, { signal: mine.signal }))
    showProblem(null)
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error)
  }
  if (asking === mine) byId("diff-changes").removeAttribute("aria-busy")
}

const isCut = ({ request, response }) => Boolean(request.body?.truncated || response?.body?.truncated)

function show({ same, truncated, changes }) {
  const without = ignored.read().length ? ` Without ${plural(ignored.read().length, "ignored path")}.` : ""
  byId("diff-said").textContent = same ? `No difference.${without}` : `${plural(changes.length, "difference")}.${without}`
  announce(byId("diff-said").textContent)
  fill(byId("diff-changes"), truncated || calls.some(isCut) ? partial() : null, same ? alike() : diffList(changes, calls.map(({ connection }) => connection), ignore))
}

function partial() {
  return notice("warning", "Not everything could be compared.",
    el("p", {}, "A body is kept in part only, or there are more or longer differences than are shown. What follows is of what there is."))
}

function alike() {
  return el("div", { class: "empty" }, el("h2", {}, "Both are the same"), el("p", {}, "Ids, times and durations always differ, and are not compared."))
}

/** The list is made anew without it, so the focus goes to what says how many are left. */
function ignore(pointer) {
  ignored.add(pointer)
  byId("diff-said").focus()
}
