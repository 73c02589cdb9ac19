/** In a page only what computes on the GPU is tested, which says so in its name: all else is the same as in Node. */
import { beforeEach } from 'vitest';

beforeEach(({ task, skip }) => skip(!/GPU|WGSL/i.test(task.fullTestName)));
