using Broker.Api;

// The node. All of its parts are put together in Api/BrokerHost.cs; the settings are in README.md.
return await BrokerHost.RunAsync(args);
