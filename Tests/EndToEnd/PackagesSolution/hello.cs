#:sdk Microsoft.NET.Sdk.Worker
#:package Microsoft.Extensions.Hosting@10.0.14
#:package Broker.Client@0.1.0
#:property PublishAot=false

using Broker.Client;

var builder = Host.CreateApplicationBuilder(args);
builder.Services.AddBrokerClient("messaging");
builder.Services.AddBrokerHandler<string>(
    "greetings",
    (message, _) => Console.Out.WriteLineAsync($"handled: {message.Value}"),
    new() { Filters = ["hello.>"] });

var app = builder.Build();
await app.StartAsync();
await app.Services.GetRequiredService<BrokerClient>().PublishValueAsync("hello.world", "Hello!");
await app.WaitForShutdownAsync();
