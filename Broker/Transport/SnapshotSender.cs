using Broker.Domain;
using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>
/// Gives snapshots to followers, each on a stream and a connection of its own. A broken transfer goes on where the
/// follower says that it ended; attempts that bring nothing are bounded.
/// </summary>
internal sealed class SnapshotSender(
    IPeerGate gate, TransferThrottle throttle, TimeProvider time, ILogger logger, CancellationToken stopping)
{
    /// <summary>How long the follower may take to make the snapshot durable and to put it to use.</summary>
    private static readonly TimeSpan InstallLimit = TimeSpan.FromSeconds(60);

    /// <summary>
    /// Raft asks again at its next heartbeat for what was not sent; when too much is under way, the answer waits this
    /// long.
    /// </summary>
    private static readonly TimeSpan BusyPause = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<(NodeId Node, uint Group), CancellationTokenSource> _running = [];

    /// <summary>Transfers under way.</summary>
    public int RunningCount
    {
        get
        {
            lock (_gate)
            {
                return _running.Count;
            }
        }
    }

    /// <summary>Runs one transfer; true when the follower has installed the snapshot.</summary>
    public async Task<bool> SendAsync(PeerEndpoint to, PeerMessage message, ReadOnlyMemory<byte> data)
    {
        // Not disposed: a newer transfer may still cancel it, and without a timer it holds nothing.
        var mine = new CancellationTokenSource();
        using var stop = stopping.UnsafeRegister(static state => ((CancellationTokenSource)state!).Cancel(), mine);
        try
        {
            if (!await TryEnterAsync((to.Node, message.Group), mine))
            {
                await Task.Delay(BusyPause, time, stopping);
                return false;
            }

            try
            {
                return await TransferAsync(to, message, data, mine.Token);
            }
            finally
            {
                Leave((to.Node, message.Group), mine);
            }
        }
        catch (OperationCanceledException) when (mine.IsCancellationRequested)
        {
            var reason = stopping.IsCancellationRequested ? "this node stops" : "another transfer takes its place";
            TransportEvents.SnapshotNotTaken(logger, (int)message.Group, to.Node.Value, reason);
            return false;
        }
        catch (RpcException failure)
        {
            TransportEvents.SnapshotNotTaken(logger, (int)message.Group, to.Node.Value, failure.Status.Detail);
            return false;
        }
    }

    /// <summary>A transfer to the same follower of the same group takes the older one's place.</summary>
    private async Task<bool> TryEnterAsync((NodeId, uint) key, CancellationTokenSource mine)
    {
        CancellationTokenSource? older;
        lock (_gate)
        {
            if (!_running.TryGetValue(key, out older) && _running.Count >= Limits.SnapshotTransfersAtOnce)
            {
                return false;
            }

            _running[key] = mine;
        }

        if (older is not null)
        {
            await older.CancelAsync();
        }

        return true;
    }

    private void Leave((NodeId, uint) key, CancellationTokenSource mine)
    {
        lock (_gate)
        {
            if (_running.TryGetValue(key, out var current) && current == mine)
            {
                _running.Remove(key);
            }
        }
    }

    private async Task<bool> TransferAsync(
        PeerEndpoint to, PeerMessage message, ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
    {
        var position = new LogPosition(new LogIndex(message.LogIndex), new Term(message.LogTerm));
        TransportEvents.SnapshotOffered(logger, (int)message.Group, to.Node.Value, position, data.Length);
        var offer = new SnapshotOffer
        {
            From = gate.Hello,
            Message = message,
            SizeBytes = (ulong)data.Length,
            DataCrc32C = Crc32C.Compute(data.Span),
        };
        var attempts = new Attempts();
        while (true)
        {
            try
            {
                await TransferOnceAsync(to, offer, data, attempts, cancellationToken);
                TransportEvents.SnapshotTaken(logger, (int)message.Group, to.Node.Value);
                return true;
            }
            catch (RpcException failure) when (PeerTransfer.IsTransient(failure) && attempts.Next())
            {
                cancellationToken.ThrowIfCancellationRequested();
                TransportEvents.SnapshotBroke(
                    logger, (int)message.Group, to.Node.Value, attempts.Count, failure.Status.Detail);
            }

            await PeerTransfer.PauseAsync(attempts.Count, time, cancellationToken);
        }
    }

    private async Task TransferOnceAsync(
        PeerEndpoint to,
        SnapshotOffer offer,
        ReadOnlyMemory<byte> data,
        Attempts attempts,
        CancellationToken cancellationToken)
    {
        using var channel = PeerChannel.Open(to.Address);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(PeerTransfer.StepLimit);
        using var call = new Peer.PeerClient(channel).InstallSnapshot(cancellationToken: patience.Token);
        try
        {
            // Reading goes on beside writing: when the follower ends the call, this is where its reason arrives.
            var answer = ReadAsync(call.ResponseStream, patience.Token);
            await OfferAsync(call.RequestStream, offer, answer, patience.Token);
            var begin = await answer;
            attempts.Began((long)begin.ReceivedBytes);
            var end = ReadAsync(call.ResponseStream, patience.Token);
            await SendChunksAsync(call.RequestStream, data, (long)begin.ReceivedBytes, patience, end);
            patience.CancelAfter(InstallLimit);
            if (!(await end).Installed)
            {
                throw PeerTransfer.Refuse(StatusCode.Internal, "The follower ended the transfer without a reason.");
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw PeerTransfer.Refuse(StatusCode.DeadlineExceeded, $"{to.Name} did not answer in time.");
        }
    }

    private static async Task OfferAsync(
        IClientStreamWriter<InstallSnapshotRequest> writer,
        SnapshotOffer offer,
        Task<InstallSnapshotResponse> answer,
        CancellationToken cancellationToken)
    {
        try
        {
            await writer.WriteAsync(new InstallSnapshotRequest { Offer = offer }, cancellationToken);
        }
        catch (Exception failure) when (PeerTransfer.IsBrokenCall(failure))
        {
            // As below: refused before the write has returned.
            await answer;
        }
    }

    private async Task SendChunksAsync(
        IClientStreamWriter<InstallSnapshotRequest> writer,
        ReadOnlyMemory<byte> data,
        long from,
        CancellationTokenSource patience,
        Task<InstallSnapshotResponse> end)
    {
        try
        {
            for (var offset = from; offset < data.Length && !end.IsCompleted;)
            {
                var piece = data.Slice((int)offset, (int)Math.Min(Limits.TransferChunkBytes, data.Length - offset));
                patience.CancelAfter(PeerTransfer.StepLimit);
                await throttle.WaitAsync(piece.Length, patience.Token);
                patience.CancelAfter(PeerTransfer.StepLimit);
                var chunk = new SnapshotChunk
                {
                    Offset = (ulong)offset,
                    Data = UnsafeByteOperations.UnsafeWrap(piece),
                    DataCrc32C = Crc32C.Compute(piece.Span),
                };
                await writer.WriteAsync(new InstallSnapshotRequest { Chunk = chunk }, patience.Token);
                offset += piece.Length;
            }

            await writer.CompleteAsync();
        }
        catch (Exception failure) when (PeerTransfer.IsBrokenCall(failure))
        {
            // The call has ended under the write; its answer says why, and is the one that counts.
            await end;
        }
    }

    private static async Task<InstallSnapshotResponse> ReadAsync(
        IAsyncStreamReader<InstallSnapshotResponse> reader, CancellationToken cancellationToken) =>
        await reader.MoveNext(cancellationToken)
            ? reader.Current
            : throw PeerTransfer.Refuse(StatusCode.Internal, "The follower ended the transfer without an answer.");

    /// <summary>Counts attempts in a row that brought nothing new.</summary>
    private sealed class Attempts
    {
        private long _furthest;

        public int Count { get; private set; }

        public void Began(long at)
        {
            if (at > _furthest)
            {
                _furthest = at;
                Count = 0;
            }
        }

        public bool Next() => ++Count < Limits.TransferAttempts;
    }
}
