#:package Broker.Testing@0.1.0
#:property PublishAot=false

using System.Text;
using Broker.Client;
using Broker.Testing;

await using var broker = await BrokerTestServer.StartAsync();
await using var client = broker.CreateClient();
await client.CreateGroupAsync("callers", new GroupSettings { Filters = ["reminders"] });
var due = broker.Time.GetUtcNow() + TimeSpan.FromHours(2);
await client.PublishAsync("reminders", new BrokerMessage { Value = "call"u8.ToArray(), DeliverAt = due });

broker.Advance(TimeSpan.FromHours(2));
var record = (await client.FetchAsync("callers", wait: TimeSpan.FromSeconds(5)))[0];
Console.WriteLine($"two hours later: {Encoding.UTF8.GetString(record.Record.Value.Span)}");
await record.AckAsync();
