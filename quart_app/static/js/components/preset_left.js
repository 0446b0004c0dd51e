// What only the person knows and has not said yet of an API that was chosen; each leads to its field.
import { el, fill } from "../dom.js"

const FIELDS = ["/auth/value", "/auth/username", "/auth/password", "/auth/token", "/auth/client_id", "/auth/client_secret", "/auth/private_key", "/auth/refresh_token"]

export function showLeft(place, form, { auth, variables }) {
  const names = [...variables.map(({ name }) => `/variables/${name}`), ...FIELDS.filter((name) => isAsked(name, auth))]
  const empty = names.map((name) => form.elements.namedItem(name)).filter((field) => field && !field.disabled && !field.value)
  place.hidden = !empty.length
  fill(place, "Still to be filled in: ", empty.flatMap((field, index) => [index ? ", " : "", leads(field)]))
}

/** An assertion says who the client is, so that a secret beside it is rare; and what a preset says need not be said. */
const isAsked = (name, auth) => !(name.split("/")[2] in auth) && !(name === "/auth/client_secret" && auth.grant === "jwt_bearer")

function leads(field) {
  return el("button", { type: "button", class: "fix", onclick: () => { field.scrollIntoView({ block: "center" }); field.focus() } }, field.labels[0].textContent)
}
