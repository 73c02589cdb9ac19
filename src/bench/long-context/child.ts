/** The process of one measurement: `child ASKED`, as JSON; it sends what was measured, or why it was not. */
import { measureLong } from './speed';

try {
  process.send?.({ measured: await measureLong(JSON.parse(process.argv[2] as string)) });
} catch (error) {
  process.send?.({ reason: error instanceof Error ? error.message : String(error) });
}
process.disconnect?.();
