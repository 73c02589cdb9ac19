/** A program of ranks, as workers and by MPI: checks, or fails in the way that its data or first argument says. */
import { asRank } from '../dist/cluster/index.mjs';
import * as library from '../dist/index.mjs';
import { checkRanks } from './ranks-body.mjs';

await asRank(async (communicator, data) => {
  const { runtime, rank } = communicator;
  const way = data ?? process.argv[2];
  if (way === 'check') {
    const errors = await checkRanks(communicator, library);
    if (!data) process.stdout.write(`${JSON.stringify(errors)}\n`);
    return errors;
  }
  if (rank === 1) {
    if (way === 'throw') throw new Error('no more paper');
    if (way === 'exit') process.exit(3);
    if (way === 'kill') process.kill(process.pid, 'SIGKILL');
    if (way === 'hang') for (;;);
  }
  return await communicator.allGather(runtime.zeros([rank === 1 && way === 'extent' ? 4 : 3])).read();
});
