/** For tests: bytes as they leave a writer, and frames as they come out of a reader. */
import { ByteWriter } from "./cbor.ts";
import { type Frame, FrameReader } from "./frame.ts";

/** What `build` writes; owned by the caller. `writer`: an empty one. */
export function written(build: (writer: ByteWriter) => void, writer = new ByteWriter()): Uint8Array {
  build(writer);
  return writer.copy();
}

/** The frame that `bytes` are, whole and alone. */
export function frameOf(bytes: Uint8Array): Frame {
  const reader = new FrameReader(bytes.length);
  reader.push(bytes);
  const frame = reader.next();
  if (frame === undefined) throw new Error(`${bytes.length} bytes are no whole frame`);
  if (reader.bufferedBytes > 0) throw new Error(`${reader.bufferedBytes} bytes follow the frame`);
  return frame;
}
