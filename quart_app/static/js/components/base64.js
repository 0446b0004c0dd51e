// Files of this computer as Base64, which is how a body that is not text goes to the API.
export const MOST_FILE_BYTES = 7_000_000

/** Rejects with a sentence fit to show. */
export async function base64Of(file) {
  if (file.size > MOST_FILE_BYTES) throw new Error(`${file.name} is too large: a call from this page takes files up to 7 MB. Larger ones go through the proxy, which streams them.`)
  const bytes = new Uint8Array(await file.arrayBuffer())
  let text = ""
  for (let start = 0; start < bytes.length; start += 32768) text += String.fromCharCode(...bytes.subarray(start, start + 32768))
  return btoa(text)
}
