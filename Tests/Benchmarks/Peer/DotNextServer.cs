using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using DotNext.Net.Cluster.Consensus.Raft;
using DotNext.Net.Cluster.Consensus.Raft.StateMachine;

namespace Broker.Tests.Benchmarks.Peer;

/// <summary>
/// Takes entries from clients into a DotNext cluster, and gives the log back; see <see cref="PeerProtocol"/>.
/// </summary>
internal sealed class DotNextServer(RaftCluster cluster, WriteAheadLog log)
{
    public async Task RunAsync(int port, CancellationToken cancellationToken)
    {
        using var listener = new TcpListener(IPAddress.Loopback, port);
        listener.Start(PeerLimits.Backlog);
        while (true)
        {
            var socket = await listener.AcceptSocketAsync(cancellationToken);
            _ = ServeAsync(socket, cancellationToken);
        }
    }

    private async Task ServeAsync(Socket socket, CancellationToken cancellationToken)
    {
        await Task.Yield();
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await using var stream = new NetworkStream(socket, ownsSocket: true);
        try
        {
            socket.NoDelay = true;
            var verb = new byte[1];
            await stream.ReadExactlyAsync(verb, end.Token);
            var leads = !cluster.LeadershipToken.IsCancellationRequested;
            await stream.WriteAsync(new[] { leads ? PeerProtocol.Yes : PeerProtocol.No }, end.Token);
            if (leads && verb[0] == PeerProtocol.Write)
            {
                await TakeAsync(stream, end);
            }
            else if (leads && verb[0] == PeerProtocol.Read)
            {
                await GiveBackAsync(PipeWriter.Create(stream), end.Token);
            }
        }
        catch (Exception error) when (error is IOException or SocketException or OperationCanceledException)
        {
            await Console.Error.WriteLineAsync($"A client's connection ended: {error.Message}");
        }
        catch (Exception error)
        {
            await Console.Error.WriteLineAsync($"A client's connection failed: {error}");
        }
    }

    private async Task TakeAsync(NetworkStream stream, CancellationTokenSource end)
    {
        var answers = Channel.CreateBounded<ValueTask>(PeerLimits.Unanswered);
        var answering = AnswerAsync(stream, answers.Reader, end);
        var input = PipeReader.Create(stream);
        try
        {
            while (true)
            {
                var read = await input.ReadAsync(end.Token);
                var bytes = read.Buffer;
                while (TryTakeEntry(ref bytes, out var entry))
                {
                    await answers.Writer.WriteAsync(cluster.ReplicateAsync(entry, token: end.Token), end.Token);
                }

                input.AdvanceTo(bytes.Start, bytes.End);
                if (read.IsCompleted)
                {
                    return;
                }
            }
        }
        finally
        {
            await end.CancelAsync();
            answers.Writer.Complete();
            await answering;
        }
    }

    private static bool TryTakeEntry(ref ReadOnlySequence<byte> bytes, out ReadOnlyMemory<byte> entry)
    {
        entry = default;
        if (bytes.Length < PeerProtocol.HeaderSizeBytes)
        {
            return false;
        }

        Span<byte> header = stackalloc byte[PeerProtocol.HeaderSizeBytes];
        bytes.Slice(0, header.Length).CopyTo(header);
        var size = PeerProtocol.ReadLength(header);
        if (bytes.Length < header.Length + size)
        {
            return false;
        }

        entry = bytes.Slice(header.Length, size).ToArray();
        bytes = bytes.Slice(header.Length + size);
        return true;
    }

    private static async Task AnswerAsync(
        NetworkStream stream, ChannelReader<ValueTask> waiting, CancellationTokenSource end)
    {
        var answers = new byte[PeerLimits.Unanswered];
        while (await waiting.WaitToReadAsync(CancellationToken.None))
        {
            var count = 0;
            while (count < answers.Length && waiting.TryRead(out var replicated))
            {
                if (!replicated.IsCompleted && count > 0)
                {
                    await SendAsync(stream, answers.AsMemory(0, count), end);
                    count = 0;
                }

                answers[count++] = await OutcomeAsync(replicated);
            }

            await SendAsync(stream, answers.AsMemory(0, count), end);
        }
    }

    /// <summary>When the client is gone, the entries that it has sent are still waited for.</summary>
    private static async Task SendAsync(NetworkStream stream, ReadOnlyMemory<byte> answers, CancellationTokenSource end)
    {
        try
        {
            await stream.WriteAsync(answers, end.Token);
        }
        catch (Exception error) when (error is IOException or OperationCanceledException)
        {
            await end.CancelAsync();
        }
    }

    private static async ValueTask<byte> OutcomeAsync(ValueTask replicated)
    {
        try
        {
            await replicated;
            return PeerProtocol.Yes;
        }
        catch (OperationCanceledException)
        {
            return PeerProtocol.No;
        }
        catch (Exception error)
        {
            await Console.Error.WriteLineAsync($"An entry was not committed: {error.Message}");
            return PeerProtocol.No;
        }
    }

    private async Task GiveBackAsync(PipeWriter output, CancellationToken cancellationToken)
    {
        var last = log.LastCommittedEntryIndex;
        for (var from = 1L; from <= last; from += PeerLimits.EntriesARead)
        {
            var to = Math.Min(last, from + PeerLimits.EntriesARead - 1);
            using (var entries = await log.ReadAsync(from, to, cancellationToken))
            {
                foreach (var entry in entries)
                {
                    // What a new leader appends for its term has no payload.
                    if (!entry.IsConfiguration && entry.TryGetPayload(out var payload) && payload.Length > 0)
                    {
                        BinaryPrimitives.WriteInt32LittleEndian(
                            output.GetSpan(PeerProtocol.HeaderSizeBytes), (int)payload.Length);
                        output.Advance(PeerProtocol.HeaderSizeBytes);
                        foreach (var part in payload)
                        {
                            output.Write(part.Span);
                        }
                    }
                }
            }

            await output.FlushAsync(cancellationToken);
        }

        output.Write(stackalloc byte[PeerProtocol.HeaderSizeBytes]);
        await output.FlushAsync(cancellationToken);
    }
}
