// Whether a URL plainly names this machine or a private network. A name that only resolves to one shows when it is called.

export function isPrivate(url) {
  const host = hostOf(url)
  if (!host) return false
  if (host.startsWith("[")) return /^\[(::1?|f[cd]..:.*|fe[89ab].:.*|::ffff:.*)\]$/.test(host)
  const numbers = host.match(/^(\d+)\.(\d+)\.\d+\.\d+$/)?.slice(1).map(Number)
  if (numbers) return isPrivateNumber(numbers)
  return host === "localhost" || /\.(localhost|local|internal|lan|home\.arpa)$/.test(host) || !host.includes(".")
}

function hostOf(url) {
  try {
    return new URL(url).hostname.replace(/\.$/, "")
  } catch {
    return ""
  }
}

function isPrivateNumber([first, second]) {
  return first === 127 || first === 10 || (first === 172 && second >= 16 && second < 32)
    || (first === 192 && second === 168) || (first === 100 && second >= 64 && second < 128)
}
