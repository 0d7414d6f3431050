using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>Takes the snapshots that leaders give to this node, and hands each to its group when it is whole.</summary>
internal sealed class SnapshotReceiver(
    IPeerGate gate, SnapshotInbox inbox, Action<PeerHello> admit, ILogger logger)
{
    /// <summary>How long the group may take; then the stream ends, and the leader asks again.</summary>
    private static readonly TimeSpan InstallLimit = TimeSpan.FromSeconds(60);

    public async Task ReceiveAsync(
        IAsyncStreamReader<InstallSnapshotRequest> reader,
        IAsyncStreamWriter<InstallSnapshotResponse> writer,
        CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            var offer = (await ReadAsync(reader, patience)).Offer;
            var term = Check(offer);
            if (term.Value > offer.Message.Term)
            {
                await writer.WriteAsync(new InstallSnapshotResponse { Term = term.Value }, patience.Token);
                throw OlderTerm(offer.Message, term.Value);
            }

            var arrival = inbox.Open(offer, owner: patience);
            TransportEvents.SnapshotArrives(
                logger,
                (int)offer.Message.Group,
                new LogPosition(new LogIndex(offer.Message.LogIndex), new Term(offer.Message.LogTerm)),
                (int)offer.Message.From,
                arrival.ReceivedBytes,
                (long)offer.SizeBytes);
            await writer.WriteAsync(
                new InstallSnapshotResponse { Term = term.Value, ReceivedBytes = (ulong)arrival.ReceivedBytes },
                patience.Token);
            while (!arrival.IsComplete)
            {
                var chunk = (await ReadAsync(reader, patience)).Chunk
                    ?? throw PeerTransfer.Refuse(StatusCode.InvalidArgument, "After the offer come chunks.");
                inbox.Append(arrival, owner: patience, chunk);
            }

            patience.CancelAfter(Timeout.InfiniteTimeSpan);
            await InstallAsync(arrival, writer, patience.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw PeerTransfer.Refuse(StatusCode.DeadlineExceeded, "No chunk came in time.");
        }
    }

    private static async Task<InstallSnapshotRequest> ReadAsync(
        IAsyncStreamReader<InstallSnapshotRequest> reader, CancellationTokenSource patience)
    {
        patience.CancelAfter(PeerTransfer.StepLimit);
        return await reader.MoveNext(patience.Token)
            ? reader.Current
            : throw PeerTransfer.Refuse(StatusCode.InvalidArgument, "The requests ended before the snapshot did.");
    }

    private static RpcException OlderTerm(PeerMessage message, long term) => PeerTransfer.Refuse(
        StatusCode.FailedPrecondition,
        $"Group {message.Group}: the offer is of term {message.Term}, this replica is in term {term}.");

    private async Task InstallAsync(
        SnapshotArrival arrival, IAsyncStreamWriter<InstallSnapshotResponse> writer, CancellationToken stop)
    {
        SnapshotOutcome outcome;
        try
        {
            outcome = await inbox.InstallOnce(arrival, gate.SnapshotReceived).WaitAsync(InstallLimit, stop);
        }
        catch (TimeoutException)
        {
            throw PeerTransfer.Refuse(StatusCode.DeadlineExceeded, "The snapshot is not installed in time.");
        }

        if (outcome.Installed)
        {
            await writer.WriteAsync(new InstallSnapshotResponse { Term = outcome.Term, Installed = true }, stop);
            return;
        }

        if (!outcome.IsIntact)
        {
            throw PeerTransfer.Refuse(StatusCode.DataLoss, "The snapshot's checksum does not fit its data.");
        }

        throw outcome.Term > arrival.Message.Term
            ? OlderTerm(arrival.Message, outcome.Term)
            : PeerTransfer.Refuse(StatusCode.Aborted, "This replica did not install the snapshot; its log says why.");
    }

    /// <summary>Throws unless the offer is one that this node may take; gives its own term.</summary>
    private Term Check(SnapshotOffer? offer)
    {
        if (offer is not { From: { } from, Message: { Kind: PeerHeartbeats.InstallSnapshotKind } message })
        {
            throw PeerTransfer.Refuse(
                StatusCode.InvalidArgument, "The first request must be an offer with its sender and its message.");
        }

        admit(from);
        if (offer.SizeBytes > Limits.SnapshotBytes)
        {
            throw PeerTransfer.Refuse(
                StatusCode.InvalidArgument,
                $"A snapshot of {offer.SizeBytes:N0} bytes is beyond the limit of {Limits.SnapshotBytes:N0}.");
        }

        return gate.TermOf(new GroupId((int)message.Group))
            ?? throw PeerTransfer.Refuse(StatusCode.NotFound, $"This node has no group {message.Group}.");
    }
}
