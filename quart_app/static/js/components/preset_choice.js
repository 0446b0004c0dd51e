// "Which API?" in the connection's form: a preset chosen by its name, what it leaves open, what is to be known of it.
import { get, withQuery } from "../api.js"
import { byId, el, fill } from "../dom.js"
import { combobox } from "./combobox.js"
import { faultsOf, partsOf } from "./preset.js"
import { showLeft } from "./preset_left.js"
import { showNotes } from "./preset_notes.js"
import { scopeTicks } from "./preset_scopes.js"

const WAYS = {
  api_key: "API key", basic: "user name and password", bearer: "token", none: "no sign-in", authorization_code: "OAuth, a person signs in",
  client_credentials: "OAuth, as the client itself", refresh_token: "OAuth, a refresh token", jwt_bearer: "OAuth, a signed assertion",
}

/**
 * `chosen(preset)` is told of a choice. Returns { ask(), show(id), parts(), left(), faults() }: ask for one, show that of a
 * connection, what the chosen one makes of its variables now (null if there is none), and what is wrong with these;
 * left() shows what is not said yet.
 */
export function presetChoice(form, chosen) {
  const input = byId("preset")
  const variables = byId("preset-variables")
  const showScopes = scopeTicks(byId("preset-scopes"), form.elements["/auth/scope"])
  let preset = null
  let asked = 0

  const values = () => Object.fromEntries([...variables.querySelectorAll("input")].map(({ name, value }) => [name.split("/")[2], value.trim()]))
  const show = (found, { asks = false } = {}) => {
    preset = found
    showNotes(byId("preset-notes"), found)
    showScopes(found?.scopes ?? [])
    const open = asks && found ? found.variables : []
    fill(variables, open.map(variableField)).hidden = !open.length
  }
  const choose = async ({ id, title }) => {
    input.value = title
    const found = await get(`/api/presets/${id}`).catch(said)
    if (!found) return
    show(found, { asks: true })
    chosen(found)
    showScopes(found.scopes) // again, now that the field has those that are chosen beforehand
  }
  const say = (text) => { byId("preset-found").textContent = text }
  const said = (error) => { say(error.message) }
  const suggestions = combobox(input, byId("preset-options"), {
    search: async (q) => (await get(withQuery("/api/presets", { q })).catch(said))?.items,
    show: ({ title, way }) => [title, el("span", {}, WAYS[way])],
    choose,
    found: (count, text) => say(count === 0 ? `No API is known by the name “${text}”. Fill in the form below.` : ""),
  })
  input.addEventListener("input", () => { if (!input.value.trim()) show(null) })

  return {
    ask() {
      asked += 1
      byId("preset-choice").hidden = false
      suggestions.close()
      show(null)
    },
    async show(id) {
      byId("preset-choice").hidden = true
      show(null)
      const number = ++asked
      const found = id ? await get(`/api/presets/${encodeURIComponent(id)}`).catch(() => null) : null
      if (number === asked) show(found)
    },
    parts: () => preset && !byId("preset-choice").hidden ? partsOf(preset, values(), form.elements["/auth/client_id"].value.trim()) : null,
    left: () => { if (preset && !byId("preset-choice").hidden) showLeft(byId("preset-left"), form, preset) },
    faults: () => (variables.hidden ? [] : faultsOf(preset, values())),
  }
}

function variableField({ name, title, help, example, default: value }) {
  const id = `preset-variable-${name}`
  return el("div", { class: "field" },
    el("label", { for: id }, title[0].toUpperCase() + title.slice(1)),
    el("input", { id, name: `/variables/${name}`, class: "data", value, placeholder: example, autocomplete: "off", autocapitalize: "off", spellcheck: "false", "aria-describedby": `${id}-hint ${id}-fault` }),
    el("p", { class: "field__hint", id: `${id}-hint` }, help),
    el("p", { class: "field__fault", id: `${id}-fault`, dataset: { faultOf: `/variables/${name}` }, hidden: true }))
}
