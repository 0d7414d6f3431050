using Broker.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Publishes on and on through some brokers, and knows what was acknowledged.</summary>
internal sealed class SteadyLoad : IAsyncDisposable
{
    private readonly BrokerClient _client;
    private readonly string _topic;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;
    private int _acknowledged;
    private long _lastAckAt = Environment.TickCount64;
    private long _longestSilenceMs;

    public SteadyLoad(BrokerClient client, string topic)
    {
        (_client, _topic) = (client, topic);
        _running = Task.Run(RunAsync);
    }

    /// <summary>All messages up to this number were acknowledged.</summary>
    public int Acknowledged => Volatile.Read(ref _acknowledged);

    /// <summary>The longest time between two acknowledgements.</summary>
    public long LongestSilenceMs => Volatile.Read(ref _longestSilenceMs);

    public static BrokerMessage MessageOf(int number) => new() { Value = BitConverter.GetBytes(number) };

    /// <summary>Ends it, when what is under way was acknowledged; answers how many were.</summary>
    public async Task<int> StopAsync()
    {
        await _stop.CancelAsync();
        await _running;
        return Acknowledged;
    }

    /// <summary>These brokers have every message, in its place.</summary>
    public static async Task AssertReadableAsync(
        BrokerClient client, string topic, int count, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(TimeSpan.FromMinutes(1));
        var next = 0;
        var options = new ReadOptions { FromOffset = 0, Follow = true };
        await foreach (var record in client.ReadAsync(topic, options, deadline.Token))
        {
            Assert.Equal(next, record.Offset);
            Assert.Equal(next, BitConverter.ToInt32(record.Value.Span));
            if (++next == count)
            {
                return;
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _client.DisposeAsync();
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            var number = _acknowledged;
            var ack = await _client.PublishAsync(_topic, MessageOf(number));
            Assert.Equal(number, ack.Offset);
            var now = Environment.TickCount64;
            _longestSilenceMs = Math.Max(_longestSilenceMs, now - _lastAckAt);
            _lastAckAt = now;
            Volatile.Write(ref _acknowledged, number + 1);
        }
    }
}
