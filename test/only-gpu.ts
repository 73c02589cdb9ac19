/** In a page the operations are tested on the GPU alone: what computes on the CPU, on threads, is the same as in Node. */
import { beforeEach } from 'vitest';

beforeEach(({ task, skip }) => skip(task.file.filepath.includes('/ops/') && !task.fullName.includes('webgpu')));
