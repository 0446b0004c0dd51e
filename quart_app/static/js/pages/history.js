// Every call, as it happens, and one of them opened beside the list.
import { get, getAll, withQuery } from "../api.js"
import { announce, byId, busy, el, fill } from "../dom.js"
import { callDetail, callProblem } from "../components/call_detail.js"
import { callCount, clear, markOpen, put, rowOf } from "../components/call_list.js"
import { hasFilters, matches, readFilters, showFilters, startFilters } from "../components/filters.js"
import { startLive } from "../components/live.js"
import { showProblem } from "../components/notice.js"

const MOST = 2000
let next = null
let opened = null

export async function start() {
  byId("calls").addEventListener("click", follow)
  byId("load-more").addEventListener("click", (event) => busy(event.currentTarget, more))
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && opened && !document.querySelector("dialog[open]")) close() })
  addEventListener("popstate", () => { showFilters(); load(); openFromAddress() })
  startFilters(await getAll("/api/connections").catch(() => []), load)
  openFromAddress()
  startLive({ arrived, opened: load })
}

/** The first page; what is on the screen already stays if the two meet, so that a reconnect does not lose one's place. */
async function load() {
  const asked = location.search
  try {
    const page = await get(withQuery("/api/calls", { ...readFilters(), limit: 50 }))
    if (asked !== location.search) return
    if (asked !== load.shown || !page.items.some(({ id }) => rowOf(id))) {
      clear()
      next = page.next
    }
    load.shown = asked
    put(page.items)
    settle()
    showProblem(null)
  } catch (error) {
    showProblem(error)
  }
}

async function more() {
  try {
    const page = await get(withQuery("/api/calls", { ...readFilters(), limit: 50, cursor: next }))
    next = page.next
    put(page.items)
    settle()
  } catch (error) {
    showProblem(error)
  }
}

function settle() {
  byId("calls").removeAttribute("aria-busy")
  byId("load-more").hidden = !next
  fill(byId("no-calls"), callCount() ? null : empty())
  markOpen(opened)
}

function empty() {
  if (hasFilters()) return el("div", { class: "empty" }, el("h2", {}, "No call fits"), el("p", {}, "Change the filters or clear them. New calls that fit appear by themselves."))
  return el("div", { class: "empty" },
    el("h2", {}, "No calls yet"),
    el("p", {}, "Every call is kept here: from this page, from programs and through the proxy."),
    el("p", {}, el("a", { class: "button button--primary", href: "/send" }, "Send a call")))
}

function arrived(calls) {
  const fitting = calls.filter((call) => matches(call) || rowOf(call.id))
  for (const call of fitting.filter((call) => !matches(call))) rowOf(call.id).remove()
  if (callCount() > MOST) { clear(); return load() }
  put(fitting.filter(matches), { fresh: true })
  settle()
  if (calls.some(({ id }) => id === opened)) openCall(opened)
}

function follow(event) {
  const link = event.target.closest("a")
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return
  event.preventDefault()
  visit(link.closest("[data-call]").dataset.call)
}

function visit(id) {
  history.pushState(null, "", `/history/${id}${location.search}`)
  openCall(id, { focus: true })
}

function openFromAddress() {
  const id = location.pathname.split("/")[2]
  if (id) return openCall(decodeURIComponent(id))
  hide()
}

async function openCall(id, { focus = false } = {}) {
  opened = id
  markOpen(id)
  try {
    const call = await get(`/api/calls/${encodeURIComponent(id)}`)
    if (opened === id) show(call, focus)
  } catch (error) {
    if (opened === id) reveal(callProblem(error, close))
  }
}

function show(call, focus) {
  opened = call.id
  reveal(callDetail(call, { close, open: visitMade }))
  if (!focus) return
  byId("call").scrollTo(0, 0)
  byId("call-title").focus()
  announce(`${call.method}, ${call.status ?? call.state}`)
}

function reveal(content) {
  byId("history").classList.add("history--open")
  fill(byId("call"), content).hidden = false
}

function visitMade(call) {
  history.pushState(null, "", `/history/${call.id}${location.search}`)
  put([call].filter(matches), { fresh: true })
  show(call, true)
  settle()
}

function close() {
  const row = rowOf(opened)
  history.pushState(null, "", `/history${location.search}`)
  hide()
  row?.firstElementChild.focus()
}

function hide() {
  opened = null
  markOpen(null)
  byId("history").classList.remove("history--open")
  fill(byId("call")).hidden = true
}
