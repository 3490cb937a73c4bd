/**
 * How the tools show keys and values: what is mostly text as a quoted string, in which `\xNN` stands for a byte that is
 * no printable ASCII character; the rest as `0x` and hex digits. So each text stands for one byte string only.
 */

/** All of `bytes`. */
export function showBytes(bytes: Uint8Array): string {
  let printable = 0;
  for (const byte of bytes) if (isPrintable(byte)) printable++;
  if (printable * 2 < bytes.length) return `0x${Buffer.from(bytes).toString("hex")}`;
  let text = '"';
  for (const byte of bytes) {
    if (!isPrintable(byte)) text += `\\x${byte.toString(16).padStart(2, "0")}`;
    else
      text += byte === 0x22 || byte === 0x5c ? `\\${String.fromCharCode(byte)}` : String.fromCharCode(byte);
  }
  return `${text}"`;
}

/** The first `max` bytes, and how many there are if there are more. */
export function showShortened(bytes: Uint8Array, max: number): string {
  return bytes.length <= max
    ? showBytes(bytes)
    : `${showBytes(bytes.subarray(0, max))}... (${bytes.length} bytes)`;
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** `12.3 MiB` */
export function showSize(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `1 table`, `2 tables` */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : plural}`;
}

function isPrintable(byte: number): boolean {
  return byte >= 0x20 && byte < 0x7f;
}
