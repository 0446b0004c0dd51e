// A secret that was taken out of a record, as a small badge: whose it was, and whether it is the one in use now.
import { el } from "../dom.js"
import { visible } from "../format.js"
import { fingerprintsOf } from "./known_secrets.js"
import { ageOf, pieces } from "./redaction.js"

const ROLES = {
  access_token: "access token",
  refresh_token: "refresh token",
  client_secret: "client secret",
  value: "API key",
  token: "bearer token",
  password: "password",
  pair: "user name and password",
  key: "TLS key",
  proxy_password: "proxy password",
  caller: "the caller’s own",
  named: "by its name",
}
const FOREIGN = {
  caller: "a secret that the caller itself sent",
  named: "a value under a name that tells of a secret",
}
const FORMS = { base64: "in Base64", escaped: "escaped" }

/** The text as nodes, each mark in it a badge. Stands below an element with data-connection, whose secrets it is compared with. */
export function marked(text) {
  return pieces(text).map((piece) => (typeof piece === "string" ? visible(piece) : secretMark(piece)))
}

function secretMark({ role, form, fingerprint }) {
  return el("secret-mark", { class: "mark", dataset: { role: role ?? "", form: form ?? "", fingerprint: fingerprint ?? "" } }, roleOf(role))
}

const roleOf = (role) => ROLES[role] ?? (role ? visible(role.replaceAll("_", " ")) : "secret")

/** Looks itself up when it gets its place on the page, so that a tree that grows later needs nobody to tell it. */
class SecretMark extends HTMLElement {
  async connectedCallback() {
    const { role, form, fingerprint } = this.dataset
    const name = this.closest("[data-connection]")?.dataset.connection
    this.title = sentence(role, form, fingerprint, null, name)
    if (role === "" || FOREIGN[role] || !name) return
    const age = ageOf({ role, fingerprint }, await fingerprintsOf(name))
    if (!age) return
    this.dataset.age = age
    this.replaceChildren(`${roleOf(role)} `, el("span", { class: "mark__age" }, age === "present" ? "present one" : "older or other one"))
    this.title = sentence(role, form, fingerprint, age, name)
  }
}

function sentence(role, form, fingerprint, age, name) {
  if (!role) return "A secret was taken out of the record. It is an old record: it does not say which secret."
  const whose = FOREIGN[role] ?? `the ${roleOf(role)} of ${name ?? "the connection"}`
  const how = form ? `, ${FORMS[form] ?? visible(form)}` : ""
  const which = { present: " It is the present one: the connection has the same now.", other: " It is an older or other one: the connection has another now." }[age] ?? ""
  return `Taken out of the record: ${whose}${how}.${which}${fingerprint ? ` Fingerprint ${fingerprint}.` : ""}`
}

customElements.define("secret-mark", SecretMark)
