// The dialog that adds or changes a webhook.
import { patch, post } from "../api.js"
import { announce, busy, byId, fill } from "../dom.js"
import { clearFaults, readForm, showFaults } from "./form.js"
import { problemNotice } from "./notice.js"
import { isPrivate } from "./private_address.js"

/** Returns open(webhook?), which adds one if none is given; `saved` gets what the server made of it. */
export function webhookForm(saved) {
  const dialog = byId("webhook-dialog")
  const form = byId("webhook-form")
  const problem = form.querySelector("[data-problem]")
  const url = form.elements["/url"]
  const example = url.placeholder
  let edited = null

  const open = (webhook = null) => {
    edited = webhook
    form.reset()
    clearFaults(form)
    fill(problem)
    byId("webhook-dialog-title").textContent = webhook ? `Edit ${webhook.url}` : "Add a webhook"
    url.placeholder = webhook ? "kept unless you type a new one" : example
    if (webhook) write(webhook)
    adapt()
    dialog.showModal()
    url.focus()
  }
  const write = ({ events, allow_private }) => {
    form.elements["/allow_private"].checked = allow_private
    for (const field of form.querySelectorAll("[name^='/events/']")) field.checked = events.includes(nameOf(field))
  }
  const adapt = () => {
    byId("private-notice").hidden = !isPrivate(url.value) || form.elements["/allow_private"].checked
  }
  const submit = async () => {
    clearFaults(form)
    fill(problem)
    const { events, ...rest } = readForm(form)
    const given = { ...rest, events: Object.keys(events).filter((name) => events[name]) }
    try {
      const webhook = await busy(byId("webhook-save"), () => edited ? patch(`/api/webhooks/${edited.id}`, given) : post("/api/webhooks", given))
      dialog.close()
      announce("Saved the webhook", { shown: true })
      saved(webhook)
    } catch (error) {
      const rest = showFaults(form, error.problem?.errors ?? [])
      if (error.problem) error.problem.errors = rest
      fill(problem, problemNotice(error)).scrollIntoView({ block: "nearest" })
    }
  }

  form.addEventListener("input", adapt)
  form.addEventListener("submit", (event) => { event.preventDefault(); submit() })
  dialog.addEventListener("click", (event) => { if (event.target.closest("[data-close]")) dialog.close() })
  return { open }
}

const nameOf = (field) => field.name.split("/").at(-1)
