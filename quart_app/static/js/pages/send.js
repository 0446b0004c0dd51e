// Writing a request, sending it, looking at the answer.
import { get, getAll, post } from "../api.js"
import { announce, byId, el, fill } from "../dom.js"
import { duration, visible } from "../format.js"
import { answerView } from "../components/answer.js"
import { copyButton } from "../components/copy.js"
import { clearFaults, showFaults } from "../components/form.js"
import { notice, problemNotice, showProblem } from "../components/notice.js"
import { callOf, curlOf, urlOf } from "../components/request_call.js"
import { requestForm } from "../components/request_form.js"
import { fromAddress, fromCall, hasGaps, leftOut, toAddress } from "../components/request_state.js"

const form = byId("send-form")
let connections = []
let request = null
let sending = null

export async function start() {
  fill(byId("answer"), el("p", { class: "faint answer__wait" }, "The answer appears here. Ctrl+Enter sends from anywhere in the form."))
  fill(byId("send-copy"), copyButton("Copy as cURL", () => curlOf(request.read(), chosen())))
  form.addEventListener("submit", (event) => { event.preventDefault(); sending ? sending.abort() : send() })
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !sending) { event.preventDefault(); form.requestSubmit() }
  })
  connections = await getAll("/api/connections")
  byId("send-connection").append(...connections.map(({ name, title }) => el("option", { value: name }, title && title !== name ? `${name} – ${visible(title)}` : name)))
  if (!connections.length) return nothingToSendThrough()
  request = requestForm(changed)
  request.write(await given())
  byId("send-button").disabled = false
  byId("send-path").focus()
}

function nothingToSendThrough() {
  form.hidden = true
  fill(byId("no-connections"), el("div", { class: "empty" }, el("h2", {}, "First, add a connection"),
    el("p", {}, "A call goes through a connection: the address of an API and how to sign in to it."),
    el("p", {}, el("a", { class: "button button--primary", href: "/connections?add=1" }, "Add a connection")))).hidden = false
}

async function given() {
  const { from, ...request } = fromAddress()
  if (!from) return request
  try {
    const call = await get(`/api/calls/${encodeURIComponent(from)}`)
    const connection = connections.find(({ name }) => name === call.connection)
    const found = fromCall(call, connection)
    fill(byId("problem"), missingOf(call.request, found, leftOut(call, connection)))
    return found
  } catch (error) {
    showProblem(error)
    return request
  }
}

/** What a record lacks of the request that it is of. */
function missingOf({ body }, found, names) {
  return [
    body?.truncated ? notice("warning", "The body is not whole.", el("p", {}, "Only its beginning is on record. Complete it before you send it.")) : null,
    body?.base64 ? notice("warning", "The body is not text.", el("p", {}, "It cannot be edited here. Replay the call as it is, or choose the file again.")) : null,
    names.length ? notice("warning", "Secrets were taken out of the record.", el("p", {}, `Left out here: ${names.map(visible).join(", ")}. Add what is needed again; Replay puts the connection’s own secrets back by itself.`)) : null,
    hasGaps(found) ? notice("warning", "A secret was taken out of the record.", el("p", {}, "Where “[redacted…]” stands in the path or the body, type what belongs there. Replay puts the connection’s own secrets back by itself.")) : null,
  ]
}

function changed() {
  const now = request.read()
  toAddress(now)
  byId("send-base").textContent = visible(urlOf(now, chosen()))
}

const chosen = () => connections.find(({ name }) => name === byId("send-connection").value)

async function send() {
  clearFaults(form)
  showProblem(null)
  request.tidy()
  if (sending) return
  const stop = waiting()
  const call = await written()
  if (!call) return stop()
  try {
    show(await post("/api/calls", call, { signal: sending.signal }))
  } catch (error) {
    failed(error)
  } finally {
    stop()
  }
}

/** The call, or null after saying what is wrong with its body. */
async function written() {
  try {
    return await callOf(request.read())
  } catch (error) {
    const isJson = error instanceof SyntaxError
    showFaults(form, [{ pointer: "/json", detail: isJson ? `This is not JSON: ${error.message}` : error.message }])
    fill(byId("answer"))
    if (!isJson) return null
    byId("send-body").setAttribute("aria-invalid", "true")
    byId("send-body").focus()
    return null
  }
}

function waiting() {
  const began = performance.now()
  sending = new AbortController()
  const clock = el("span", { class: "data" })
  const tick = () => { clock.textContent = duration((performance.now() - began) / 1000) }
  const timer = setInterval(tick, 100)
  byId("send-button").textContent = "Cancel"
  byId("answer").setAttribute("aria-busy", "true")
  fill(byId("answer-actions"))
  fill(byId("answer"), el("p", { class: "answer__wait" }, "Sending… ", clock))
  announce("Sending")
  return () => {
    clearInterval(timer)
    sending = null
    byId("send-button").textContent = "Send"
    byId("answer").removeAttribute("aria-busy")
  }
}

function show(call) {
  fill(byId("answer"), answerView(call))
  fill(byId("answer-actions"), el("a", { class: "button button--quiet", href: `/history/${call.id}` }, "Open in History"))
  announce(call.state === "done" ? `Answered ${call.status} in ${duration(call.duration_seconds)}` : `The call ${call.state}`)
}

function failed(error) {
  if (error.name === "AbortError") {
    announce("Cancelled")
    return fill(byId("answer"), notice("warning", "You cancelled it.", el("p", {}, "The request may have been acted on. Its record is in the history.")))
  }
  const rest = showFaults(form, error.problem?.errors ?? [])
  if (error.problem) error.problem.errors = rest
  fill(byId("answer"), problemNotice(error))
}
