/** A rank of `saccade bench links`, as a worker or as a process of MPI's, which gets its plan as an argument. */
import { asRank, type Communicator } from '../../cluster';
import { type LinkPlan, measureLinks } from './measure';

await asRank(async (communicator: Communicator, data: LinkPlan | undefined) => {
  const plan: LinkPlan = data ?? JSON.parse(process.argv[2] as string);
  const microseconds = await measureLinks(communicator, plan);
  if (!data && communicator.rank === 0) process.stdout.write(`${JSON.stringify(microseconds)}\n`);
  return microseconds;
});
