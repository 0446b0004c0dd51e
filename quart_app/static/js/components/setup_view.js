// How a connection is set: each part in words, with the way to the field that changes it.
import { el } from "../dom.js"
import { bytes, duration, plural, visible } from "../format.js"

export function setupView({ policy, tls, proxy }, edit) {
  const lines = [
    ["Attempts", "/policy/attempts", policy.attempts === 1 ? "One. A call that fails is not tried again." : `Up to ${policy.attempts}, ${policy.retry_unsafe ? "whatever the method" : "where sending twice does no harm"}.`],
    ["Calls at once", "/policy/concurrency", `At most ${policy.concurrency}; further ones wait for their turn.`],
    ["Calls per minute", "/policy/per_minute", policy.per_minute ? `At most ${policy.per_minute}; further ones wait for their turn.` : "As many as the API allows."],
    ["Redirects", "/policy/follow_redirects", policy.follow_redirects ? "Followed, up to five in one call; no credential goes to another origin." : "Not followed; the answer is passed on as it is."],
    ["Times", "/policy/connect_seconds", `${duration(policy.connect_seconds)} to connect, ${duration(policy.first_byte_seconds)} until the first byte, ${duration(policy.idle_seconds)} between pieces, ${duration(policy.total_seconds)} in all.`],
    ["Private addresses", "/policy/allow_private", policy.allow_private ? "Allowed." : "Never called."],
    ["History", "/policy/record_bytes", policy.record_bodies ? `The first ${bytes(policy.record_bytes)} of each body are kept.` : "Bodies are not kept."],
    ["Encryption", "/tls/ca", tlsWords(tls)],
    ["Way out", "/proxy/url", proxy?.url ? `Through the proxy ${visible(proxy.url)}${proxy.username ? `, signed in as ${visible(proxy.username)}` : ""}.` : "Straight to the API."],
  ]
  return el("dl", { class: "setup" }, lines.map(([name, field, says]) => el("div", { class: "setup__line" }, el("dt", {}, name), el("dd", {}, says),
    el("button", { type: "button", class: "fix", onclick: () => edit(field), "aria-label": `Change: ${name}` }, "Change"))))
}

function tlsWords(tls) {
  if (!tls) return "Certificates are checked against the authorities this machine trusts."
  if (tls.verify === false) return el("strong", { class: "setup__danger" }, "Certificates are not checked. Anyone on the way can read and change the calls, secrets included.")
  const trusted = tls.ca ? `Certificates are checked against ${plural((tls.ca.match(/BEGIN CERTIFICATE/g) ?? [1]).length, "certificate")} of the connection’s own.` : "Certificates are checked against the authorities this machine trusts."
  return `${trusted}${tls.certificate ? " A client certificate is shown to the API." : ""}`
}
