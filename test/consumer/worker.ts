/** The same in a worker of a page, which may wait for other threads as the page itself may not. */
import type { RuntimeOptions } from '../../src/index';
import { agreement } from './agreement';

addEventListener('message', async ({ data }: MessageEvent<RuntimeOptions>) => postMessage(await agreement(data)));
