import { Command } from 'commander';
import { simulateGnaCommand } from './simulate-gna';
import { simulateMemoryCommand } from './simulate-memory';
import { simulateReachCommand } from './simulate-reach';

export function simulateCommand(): Command {
  const command = new Command('simulate').helpCommand(false).hook('preSubcommand', (parent, child) => {
    child.copyInheritedSettings(parent);
  });
  for (const sub of [simulateGnaCommand(), simulateReachCommand(), simulateMemoryCommand()]) command.addCommand(sub);
  return command;
}
