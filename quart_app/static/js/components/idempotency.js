// The idempotency key of a request: typed, or made new.
import { announce, byId, enable } from "../dom.js"

export function startIdempotency(changed) {
  enable("send-key-new", () => {
    byId("send-key").value = newKey()
    changed()
    announce("Made a new idempotency key")
  })
}

/** 128 random bits; `randomUUID` is there on safe origins only, and this page may stand on another. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("")
}
