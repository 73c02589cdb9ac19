import { Command } from 'commander';
import { simulateContextParallelCommand } from './simulate-context-parallel';
import { simulateGnaCommand } from './simulate-gna';
import { simulateMemoryCommand } from './simulate-memory';
import { simulateReachCommand } from './simulate-reach';

export function simulateCommand(): Command {
  const command = new Command('simulate').helpCommand(false).hook('preSubcommand', (parent, child) => {
    child.copyInheritedSettings(parent);
  });
  const commands = [simulateGnaCommand, simulateReachCommand, simulateMemoryCommand, simulateContextParallelCommand];
  for (const create of commands) command.addCommand(create());
  return command;
}
