using Broker.Cli;

return await CommandLine.RunAsync(args);
