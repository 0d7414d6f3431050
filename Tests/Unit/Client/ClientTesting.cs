using System.Text;
using Broker.Client;
using Xunit;

namespace Broker.Tests.Unit.Client;

public static class ClientTesting
{
    internal static BrokerClient Connect(
        FakeCluster cluster, Func<BrokerClientOptions, BrokerClientOptions>? with = null)
    {
        var options = new BrokerClientOptions
        {
            Addresses = cluster.Addresses,
            PublishTimeout = TimeSpan.FromSeconds(20),
            OperationTimeout = TimeSpan.FromSeconds(5),
        };
        return new BrokerClient(with?.Invoke(options) ?? options);
    }

    internal static BrokerMessage Message(string text) => new() { Value = Encoding.UTF8.GetBytes(text) };

    internal static string Text(BrokerRecord record) => Encoding.UTF8.GetString(record.Value.Span);

    /// <summary>Polls until a condition holds; fails the test after 10 seconds.</summary>
    internal static async Task Until(Func<bool> condition, string what)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        while (!condition())
        {
            Assert.False(deadline.IsCancellationRequested, $"It did not come about that {what}.");
            await Task.Delay(2);
        }
    }
}
