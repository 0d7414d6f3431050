using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Threading.Channels;

namespace Broker.Tests.Benchmarks.Peer;

/// <summary>
/// A client of a DotNext cluster: finds the leader, sends entries without waiting, and looks for the leader again when
/// the connection breaks or an entry is refused. Failures come as <see cref="IOException"/>.
/// </summary>
internal sealed class DotNextClient(IReadOnlyList<int> ports) : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _end = new();
    private Task<Session>? _connecting;
    private Session? _session;

    /// <summary>True when the entry is committed and applied.</summary>
    public ValueTask<bool> PublishAsync(ReadOnlyMemory<byte> entry) =>
        Volatile.Read(ref _session) is { IsBroken: false } session
            ? new ValueTask<bool>(session.SendAsync(entry))
            : ConnectAndSendAsync(entry);

    /// <summary>Tries again until the entry is committed, for as long as our own client would.</summary>
    public async ValueTask<bool> PublishUntilCommittedAsync(ReadOnlyMemory<byte> entry)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(_end.Token);
        deadline.CancelAfter(PeerLimits.Answer);
        while (true)
        {
            try
            {
                return await PublishAsync(entry);
            }
            catch (IOException) when (!deadline.IsCancellationRequested)
            {
                await Task.Delay(PeerLimits.AskAgain, CancellationToken.None);
            }
        }
    }

    /// <summary>The leader's committed entries, from the first to the last.</summary>
    public async IAsyncEnumerable<ReadOnlyMemory<byte>> ReadAllAsync(
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var (stream, _) = await FindLeaderAsync(ports, PeerProtocol.Read, cancellationToken);
        await using var buffered = new BufferedStream(stream, PeerLimits.SendBytes);
        var header = new byte[PeerProtocol.HeaderSizeBytes];
        while (true)
        {
            await buffered.ReadExactlyAsync(header, cancellationToken);
            var entry = new byte[PeerProtocol.ReadLength(header)];
            if (entry.Length == 0)
            {
                yield break;
            }

            await buffered.ReadExactlyAsync(entry, cancellationToken);
            yield return entry;
        }
    }

    /// <summary>The index of the node that leads.</summary>
    public static async Task<int> FindLeaderAsync(IReadOnlyList<int> ports, CancellationToken cancellationToken)
    {
        var (stream, node) = await FindLeaderAsync(ports, PeerProtocol.Write, cancellationToken);
        await stream.DisposeAsync();
        return node;
    }

    /// <summary>Asks a node whether it leads; null when it does not answer. Only the leader gives a stream.</summary>
    public static async Task<(bool Leads, NetworkStream? Stream)?> AskAsync(
        int port, byte verb, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(PeerLimits.Connect);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), deadline.Token);
            var stream = new NetworkStream(socket, ownsSocket: true);
            var bytes = new[] { verb };
            await stream.WriteAsync(bytes, deadline.Token);
            await stream.ReadExactlyAsync(bytes, deadline.Token);
            if (bytes[0] == PeerProtocol.Yes)
            {
                return (true, stream);
            }

            await stream.DisposeAsync();
            return (false, null);
        }
        catch (Exception error) when (error is SocketException or IOException
            || (error is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            // Down, or too slow to be asked: the caller asks the others.
            socket.Dispose();
            return null;
        }
    }

    /// <summary>What waits for its answer fails.</summary>
    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        Task connecting;
        lock (_gate)
        {
            connecting = _connecting ?? Task.CompletedTask;
        }

        await connecting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (_session is not null)
        {
            await _session.DisposeAsync();
        }
    }

    private async ValueTask<bool> ConnectAndSendAsync(ReadOnlyMemory<byte> entry)
    {
        Task<Session> connecting;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_end.IsCancellationRequested, this);
            if (_connecting is null || (_connecting.IsCompleted && _session is null or { IsBroken: true }))
            {
                _connecting = ConnectAsync();
            }

            connecting = _connecting;
        }

        return await (await connecting).SendAsync(entry);
    }

    private async Task<Session> ConnectAsync()
    {
        await Task.Yield();
        try
        {
            var (stream, _) = await FindLeaderAsync(ports, PeerProtocol.Write, _end.Token);
            var session = new Session(stream);
            Volatile.Write(ref _session, session);
            return session;
        }
        catch (OperationCanceledException error)
        {
            throw new IOException("The client was disposed while it looked for the leader.", error);
        }
    }

    private static async Task<(NetworkStream Stream, int Node)> FindLeaderAsync(
        IReadOnlyList<int> ports, byte verb, CancellationToken cancellationToken)
    {
        using var deadline = new CancellationTokenSource(PeerLimits.Answer);
        while (!deadline.IsCancellationRequested)
        {
            for (var node = 0; node < ports.Count; node++)
            {
                if (await AskAsync(ports[node], verb, cancellationToken) is { Stream: { } stream })
                {
                    return (stream, node);
                }
            }

            await Task.Delay(PeerLimits.AskAgain, cancellationToken);
        }

        throw new IOException($"No node led within {PeerLimits.Answer.TotalSeconds:N0} s; see the node.log files.");
    }

    /// <summary>One connection to the leader. Broken once is broken for good.</summary>
    private sealed class Session : IAsyncDisposable
    {
        private readonly Lock _gate = new();
        private readonly NetworkStream _stream;
        private readonly Queue<TaskCompletionSource<bool>> _unanswered = new();
        private readonly Task _sending;
        private readonly Task _receiving;
        private readonly Channel<ReadOnlyMemory<byte>> _unsent =
            Channel.CreateBounded<ReadOnlyMemory<byte>>(PeerLimits.Unanswered);

        private IOException? _failure;

        public Session(NetworkStream stream)
        {
            _stream = stream;
            _sending = SendAsync();
            _receiving = ReceiveAsync();
        }

        public bool IsBroken => Volatile.Read(ref _failure) is not null;

        public Task<bool> SendAsync(ReadOnlyMemory<byte> entry)
        {
            var answer = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
            lock (_gate)
            {
                if (_failure is not null)
                {
                    return Task.FromException<bool>(_failure);
                }

                if (!_unsent.Writer.TryWrite(entry))
                {
                    return Task.FromException<bool>(new IOException(
                        $"{PeerLimits.Unanswered} entries wait to be sent; await answers before sending more."));
                }

                _unanswered.Enqueue(answer);
            }

            return answer.Task;
        }

        public async ValueTask DisposeAsync()
        {
            await FailAsync(new IOException("The client was disposed."));
            await Task.WhenAll(_sending, _receiving);
        }

        private async Task SendAsync()
        {
            await Task.Yield();
            var buffer = new byte[PeerLimits.SendBytes];
            try
            {
                while (await _unsent.Reader.WaitToReadAsync())
                {
                    var count = 0;
                    while (_unsent.Reader.TryPeek(out var entry)
                        && count + PeerProtocol.HeaderSizeBytes + entry.Length <= buffer.Length)
                    {
                        BinaryPrimitives.WriteInt32LittleEndian(buffer.AsSpan(count), entry.Length);
                        entry.CopyTo(buffer.AsMemory(count + PeerProtocol.HeaderSizeBytes));
                        count += PeerProtocol.HeaderSizeBytes + entry.Length;
                        _unsent.Reader.TryRead(out _);
                    }

                    await _stream.WriteAsync(buffer.AsMemory(0, count));
                }
            }
            catch (Exception error) when (error is IOException or ObjectDisposedException)
            {
                await FailAsync(new IOException($"An entry could not be sent: {error.Message}", error));
            }
        }

        private async Task ReceiveAsync()
        {
            await Task.Yield();
            var answers = new byte[PeerLimits.Unanswered];
            try
            {
                while (true)
                {
                    using var patience = new CancellationTokenSource(PeerLimits.Answer);
                    var count = await _stream.ReadAsync(answers, patience.Token);
                    if (count == 0 || answers.AsSpan(0, count).Contains(PeerProtocol.No))
                    {
                        Answer(Math.Max(0, answers.AsSpan(0, count).IndexOf(PeerProtocol.No)));
                        await FailAsync(new IOException("The node is gone, or has refused an entry."));
                        return;
                    }

                    Answer(count);
                }
            }
            catch (Exception error)
                when (error is IOException or ObjectDisposedException or OperationCanceledException)
            {
                await FailAsync(new IOException($"No answer came: {error.Message}", error));
            }
        }

        private void Answer(int count)
        {
            lock (_gate)
            {
                for (; count > 0; count--)
                {
                    if (!_unanswered.TryDequeue(out var answer))
                    {
                        throw new IOException("The node sent more answers than it was sent entries.");
                    }

                    answer.SetResult(true);
                }
            }
        }

        private async Task FailAsync(IOException failure)
        {
            List<TaskCompletionSource<bool>> waiting;
            lock (_gate)
            {
                _failure ??= failure;
                failure = _failure;
                waiting = [.. _unanswered];
                _unanswered.Clear();
                _unsent.Writer.TryComplete();
            }

            await _stream.DisposeAsync();
            waiting.ForEach(answer => answer.SetException(failure));
        }
    }
}
