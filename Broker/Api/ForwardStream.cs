using System.Collections.Concurrent;
using System.Threading.Channels;
using Broker.Client.Tracing;
using Broker.Domain;
using Broker.Protocol;
using Broker.Protocol.Wire;
using Broker.Transport;
using Grpc.Core;
using Grpc.Net.Client;
using WireClient = Broker.Protocol.Wire.Broker.BrokerClient;

namespace Broker.Api;

/// <summary>
/// One PublishStream to another node, opened when there is something to forward. When it breaks, by whatever failure,
/// everything on it is answered ABORTED: the client sends it again with the same stamp. When it never came about, it is
/// answered UNAVAILABLE: nothing was stored.
/// </summary>
internal sealed class ForwardStream : IAsyncDisposable
{
    /// <summary>Publishes on their way to one node; beyond it they are refused.</summary>
    private const int QueueLength = 8_192;

    private readonly PeerEndpoint _peer;
    private readonly ILogger _logger;
    private readonly GrpcChannel _channel;
    private readonly Channel<PublishCall> _queue = Channel.CreateBounded<PublishCall>(
        new BoundedChannelOptions(QueueLength) { SingleReader = true });

    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _running;

    public ForwardStream(PeerEndpoint peer, ILogger logger)
    {
        _peer = peer;
        _logger = logger;
        _channel = PeerChannel.Open(peer.Address, watched: true);
        using var pause = MessageSpan.LeaveTrace(); // of the publish that opens what many will use
        _running = Task.Run(RunAsync);
    }

    /// <summary>Where it goes.</summary>
    public Uri Address => _peer.Address;

    public void Send(PublishCall call)
    {
        if (!_queue.Writer.TryWrite(call))
        {
            call.Fail(Refusal.Overloaded($"The forward queue to {_peer.Name}", TimeSpan.FromMilliseconds(20)));
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _running;
        _channel.Dispose();
        _stopping.Dispose();
    }

    private async Task RunAsync()
    {
        try
        {
            while (await _queue.Reader.WaitToReadAsync(_stopping.Token))
            {
                await RunStreamAsync(_stopping.Token);
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // The node stops; what waits is refused below.
        }

        _queue.Writer.TryComplete();
        while (_queue.Reader.TryRead(out var call))
        {
            call.Fail(Refusal.NoLeader(call.Group));
        }
    }

    private async Task RunStreamAsync(CancellationToken cancellationToken)
    {
        var pending = new ConcurrentDictionary<ulong, PublishCall>();
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var neverSent = false;
        try
        {
            var client = new WireClient(_channel);
            using var stream = client.PublishStream(
                new Metadata { { LeaderForwarder.ForwardedHeader, "1" } }, cancellationToken: ended.Token);
            var reading = ReadAsync(stream.ResponseStream, pending, ended);
            var writing = WriteAsync(stream.RequestStream, pending, ended.Token);
            await Task.WhenAny(reading, writing);
            await ended.CancelAsync();
            await Task.WhenAll(reading, writing);
        }
        catch (Exception exception)
        {
            ApiEvents.ForwardBroke(_logger, _peer.Name, exception.Message);
            neverSent = Sockets.NeverConnected(exception);
        }

        foreach (var call in pending.Values)
        {
            call.Fail(neverSent ? Refusal.NoLeader(call.Group) : Refusal.OutcomeUnknown(call.Group));
        }
    }

    private async Task WriteAsync(
        IClientStreamWriter<PublishStreamRequest> writer,
        ConcurrentDictionary<ulong, PublishCall> pending,
        CancellationToken cancellationToken)
    {
        ulong correlation = 0;
        var message = new PublishStreamRequest();
        while (await _queue.Reader.WaitToReadAsync(cancellationToken))
        {
            // All that waits leaves together; one that is too large for it begins the next message.
            long bytes = 0;
            while (message.Publishes.Count < Limits.PublishesPerMessage
                && _queue.Reader.TryPeek(out var call)
                && (bytes == 0 || bytes + call.SizeBytes <= Limits.BatchBytes))
            {
                _queue.Reader.TryRead(out _);
                bytes += call.SizeBytes;
                pending[++correlation] = call;
                message.Publishes.Add(new StreamedPublish { Correlation = correlation, Publish = call.Request });
            }

            await writer.WriteAsync(message, cancellationToken);
            message.Publishes.Clear();
        }
    }

    private static async Task ReadAsync(
        IAsyncStreamReader<PublishStreamResponse> reader,
        ConcurrentDictionary<ulong, PublishCall> pending,
        CancellationTokenSource ended)
    {
        while (await reader.MoveNext(ended.Token))
        {
            var results = reader.Current.Results;
            for (var i = 0; i < results.Count; i++)
            {
                if (pending.TryRemove(results[i].Correlation, out var call))
                {
                    call.Forwarded(results[i]);
                }
            }
        }
    }
}
