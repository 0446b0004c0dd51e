// Every call, as it happens, and one of them opened beside the list.
import { get, getAll, withQuery } from "../api.js"
import { announce, byId, busy, el, fill } from "../dom.js"
import { callDetail, callProblem } from "../components/call_detail.js"
import { callCount, clear, markOpen, put, rowOf } from "../components/call_list.js"
import { compareWith, comparing, startComparing, stopComparing } from "../components/compare.js"
import { fits, hasFilters, hasWords, readFilters, showFilters, startFilters } from "../components/filters.js"
import { searching, showFound, showSearchProblem } from "../components/found.js"
import { startLive } from "../components/live.js"
import { showProblem } from "../components/notice.js"
import { startStorage } from "../components/storage.js"

const MOST = 2000
const SEARCH_AGAIN_MILLISECONDS = 2000
let next = null
let opened = null
let asking = null

export async function start() {
  byId("calls").addEventListener("click", follow)
  byId("load-more").addEventListener("click", (event) => busy(event.currentTarget, more))
  document.addEventListener("keydown", leave)
  addEventListener("popstate", () => { showFilters(); load(); openFromAddress() })
  startFilters(await getAll("/api/connections").catch(() => []), load)
  openFromAddress()
  startLive({ arrived, opened: load })
  startStorage(byId("storage"))
}

/** Escape leaves what was entered last; in a field it is the field's own. */
function leave(event) {
  if (event.key !== "Escape" || event.target.matches("input, select, textarea") || document.querySelector("dialog[open]")) return
  if (comparing()) stopComparing()
  else if (opened) close()
}

/** The first page; what is on the screen already stays if the two meet, so that a reconnect does not lose one's place. */
async function load() {
  const asked = location.search
  asking?.abort()
  const mine = asking = new AbortController()
  if (asked !== load.shown && hasFilters()) searching(true)
  try {
    const page = await get(withQuery("/api/calls", { ...readFilters(), limit: 50 }), { signal: mine.signal })
    if (asked !== load.shown || !page.items.some(({ id }) => rowOf(id))) {
      clear()
      next = page.next
    }
    load.shown = asked
    put(page.items)
    settle()
    showProblem(null)
  } catch (error) {
    if (error.name === "AbortError") return
    clear()
    next = null
    settle()
    showSearchProblem(error)
  }
  searching(false)
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
  showFound(callCount(), { more: Boolean(next), filtered: hasFilters() })
  fill(byId("no-calls"), callCount() ? null : empty())
  markOpen(opened)
}

function empty() {
  if (hasFilters()) return el("div", { class: "empty" }, el("h2", {}, "Nothing found"), el("p", {}, "No call on record fits. Change the words and filters or clear them; new calls that fit appear by themselves."))
  return el("div", { class: "empty" },
    el("h2", {}, "No calls yet"),
    el("p", {}, "Every call is kept here: from this page, from programs and through the proxy."),
    el("p", {}, el("a", { class: "button button--primary", href: "/send" }, "Send a call")))
}

function arrived(calls) {
  for (const call of calls) if (!fits(call)) rowOf(call.id)?.remove()
  if (callCount() > MOST) { clear(); return load() }
  const fitting = calls.filter(fits)
  put(fitting.filter((call) => hasWords(call) || rowOf(call.id)), { fresh: true })
  if (fitting.some(({ id }) => !rowOf(id))) searchAgain()
  settle()
  if (calls.some(({ id }) => id === opened)) openCall(opened)
}

/** Calls whose URL lacks the words may have them in their bodies, once the search has read those. */
function searchAgain() {
  searchAgain.timer ??= setTimeout(() => { searchAgain.timer = null; load() }, SEARCH_AGAIN_MILLISECONDS)
}

function follow(event) {
  const link = event.target.closest("a")
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return
  event.preventDefault()
  const { call } = link.closest("[data-call]").dataset
  comparing() ? compareWith(call) : visit(call)
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
  reveal(callDetail(call, { close, open: visitMade, compare }))
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
  put([call].filter((made) => fits(made) && hasWords(made)), { fresh: true })
  show(call, true)
  settle()
}

/** Where there is room for one of the two only, the list comes back to be chosen from. */
function compare(call) {
  startComparing(call)
  if (byId("calls").checkVisibility()) rowOf(call.id)?.firstElementChild.focus()
  else close()
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
