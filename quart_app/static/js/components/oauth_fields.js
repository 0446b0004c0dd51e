// The part of the connection's form that is about OAuth: which of its fields a grant has, and those that are no single field.
import { byId } from "../dom.js"
import { copyButton } from "./copy.js"
import { pairs } from "./pairs.js"

/** Returns { adapt(), read(auth), write(auth), clear() }; `shown(part, yes)` shows or hides a part with its fields. */
export function oauthFields(form, shown) {
  const rows = { extra: pairs("Token parameter"), authorize_extra: pairs("Sign-in parameter") }
  byId("oauth-extra").append(rows.extra.element)
  byId("oauth-authorize-extra").append(rows.authorize_extra.element)
  byId("redirect-copy").append(copyButton("Copy", () => byId("redirect-uri").textContent))

  const adapt = () => {
    const { value: grant } = form.elements["/auth/grant"]
    const signs = form.elements["/auth/client_auth"].value === "private_key_jwt"
    const wanted = { person: grant === "authorization_code", token: grant === "refresh_token", assertion: grant === "jwt_bearer", key: grant === "jwt_bearer" || signs, secret: !signs }
    const isOAuth = form.elements["/auth/scheme"].value === "oauth2"
    for (const part of form.querySelectorAll("[data-oauth]")) shown(part, isOAuth && wanted[part.dataset.oauth])
    byId("redirect-uri").textContent = `${form.dataset.ownUrl}/oauth/callback/${form.elements["/name"].value.trim() || "…"}`
  }
  /** What the form's own fields say of auth, with the parameters. */
  const read = (auth) => {
    if (auth?.scheme !== "oauth2") return auth
    const { extra, authorize_extra } = rows
    const isSentOn = auth.grant === "authorization_code"
    return { ...auth, extra: Object.fromEntries(extra.read()), ...(isSentOn ? { authorize_extra: Object.fromEntries(authorize_extra.read()) } : {}) }
  }
  const write = (auth = {}) => {
    for (const [name, part] of Object.entries(rows)) if (auth[name]) part.write(Object.entries(auth[name]))
  }
  const clear = () => Object.values(rows).forEach((part) => part.write([]))
  return { adapt, read, write, clear }
}
