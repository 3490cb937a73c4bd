/** A process that runs the seeds it is sent, one after the other, and sends back what they came to. */
import type { SimulationOptions } from "./options.ts";
import { simulate } from "./simulation.ts";

process.on("message", (options: SimulationOptions) => {
  simulate(options).then((result) => process.send!(result));
});
// Nobody is left to send it anything.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
process.send!("ready");
