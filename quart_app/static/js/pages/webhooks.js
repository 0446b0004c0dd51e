// The list of webhooks, each with what was sent to it last.
import { getAll, listen, remove } from "../api.js"
import { announce, button, byId, el, enable, fill } from "../dom.js"
import { confirm } from "../components/dialog.js"
import { showProblem } from "../components/notice.js"
import { webhookCard } from "../components/webhook_card.js"
import { webhookForm } from "../components/webhook_form.js"
import { showSecret } from "../components/webhook_secret.js"

const list = byId("webhooks")
const form = webhookForm(async (webhook) => {
  if (webhook.secret.value) await showSecret(webhook.secret.value)
  await load()
  byId(`webhook-${webhook.id}`)?.scrollIntoView({ block: "nearest" })
})

export async function start() {
  enable("add", () => form.open())
  await load()
  listen({ delivery: told })
}

async function load() {
  try {
    const webhooks = await getAll("/api/webhooks")
    fill(list, webhooks.length ? webhooks.map((webhook) => webhookCard(webhook, { edit: form.open, remove: drop })) : empty())
    showProblem(null)
  } catch (error) {
    showProblem(error)
  }
  list.removeAttribute("aria-busy")
}

function empty() {
  return el("li", { class: "empty" },
    el("h2", {}, "Be told before anybody notices"),
    el("p", {}, "A webhook is a URL of yours that gets a signed POST when a connection needs a person to sign in, when it has recovered, and when its token cannot be refreshed."),
    el("p", {}, button("Add your first webhook", () => form.open(), { kind: "primary" })))
}

async function drop({ id, url }) {
  const sure = await confirm("Delete this webhook?", `Nothing more is sent to ${url}, not even what waits for another try, and what was sent to it is forgotten.`, "Delete webhook")
  if (!sure) return
  try {
    await remove(`/api/webhooks/${id}`)
    announce("Deleted the webhook", { shown: true })
    await load()
    byId("add").focus()
  } catch (error) {
    showProblem(error)
  }
}

function told({ webhook }) {
  byId(`webhook-${webhook}`)?.dispatchEvent(new Event("delivery"))
}
