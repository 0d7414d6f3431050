using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;

namespace Broker.Tests.Benchmarks.Anchors;

/// <summary>RabbitMQ: a queue is a quorum queue with three members; it flushes before it confirms.</summary>
internal sealed class RabbitMqAnchor : IAnchor
{
    /// <summary>Where Debian keeps the programs themselves.</summary>
    public const string DebianFolder = "/usr/lib/rabbitmq/bin";

    private const int Epmd = AnchorLimits.Nodes;
    private static readonly TimeSpan TailInterval = TimeSpan.FromMilliseconds(20);

    private readonly string _bin;
    private readonly string _folder;
    private readonly NodeProcesses _processes;
    private readonly int[] _ports;
    private readonly int[] _distribution;
    private readonly int _epmd;
    private readonly List<IConnection> _connections = [];
    private IChannel? _admin;

    private RabbitMqAnchor(string bin, string folder)
    {
        (_bin, _folder) = (bin, folder);
        _processes = new NodeProcesses(folder, AnchorLimits.Nodes + 1, areWrapped: true);
        var ports = FreePorts.Take((2 * AnchorLimits.Nodes) + 1);
        _ports = ports[..AnchorLimits.Nodes];
        _distribution = ports[AnchorLimits.Nodes..(2 * AnchorLimits.Nodes)];
        _epmd = ports[^1];
    }

    public bool HasGroups => true;

    public bool AcksTogether => true;

    public AckProof Acks => AckProof.Sent;

    /// <summary>By the folder's name, Debian's or the archive's: rabbitmqctl would start a name server.</summary>
    public static string VersionOf(string bin)
    {
        const string Product = "rabbitmq_server-";
        var parent = Path.GetDirectoryName(Path.GetFullPath(bin)) ?? bin;
        var lib = Path.Combine(parent, "lib");
        var folder = Directory.Exists(lib) ? Directory.GetDirectories(lib, $"{Product}*").FirstOrDefault() : parent;
        var name = Path.GetFileName(folder) ?? "";
        return name.StartsWith(Product, StringComparison.Ordinal) ? name[Product.Length..] : "of unknown version";
    }

    /// <param name="bin">Where rabbitmq-server and rabbitmqctl themselves are, no scripts that change user.</param>
    /// <param name="folder">Where the nodes keep data and logs.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    public static async Task<IAnchor> StartAsync(string bin, string folder, CancellationToken cancellationToken)
    {
        var anchor = new RabbitMqAnchor(bin, folder);
        try
        {
            await anchor.StartAsync(cancellationToken);
            return anchor;
        }
        catch
        {
            await anchor.DisposeAsync();
            throw;
        }
    }

    public double CpuSeconds() => _processes.CpuSeconds();

    public async Task MakeQueueAsync(string queue, CancellationToken cancellationToken)
    {
        await using var channel = await OpenAsync(0, null, cancellationToken);
        var arguments = new Dictionary<string, object?>
        {
            ["x-queue-type"] = "quorum",
            ["x-quorum-initial-group-size"] = AnchorLimits.Nodes,
        };
        await channel.QueueDeclareAsync(
            queue, durable: true, exclusive: false, autoDelete: false, arguments, cancellationToken: cancellationToken);
    }

    /// <summary>A queue is led by the node that was asked to make it, the first one.</summary>
    public async Task<IAnchorPublisher> PublisherAsync(string queue, CancellationToken cancellationToken)
    {
        // The load keeps its window by itself; the client's limiter would wait as soon as a part of it is used.
        var options = new CreateChannelOptions(
            publisherConfirmationsEnabled: true,
            publisherConfirmationTrackingEnabled: true,
            outstandingPublisherConfirmationsRateLimiter: null);
        return new Publisher(await OpenAsync(0, options, cancellationToken), queue);
    }

    public async Task ConsumeAsync(AnchorMember member, CancellationToken stop)
    {
        var channel = await OpenAsync(member.Number % AnchorLimits.Nodes, null, stop);
        await channel.BasicQosAsync(0, AnchorLimits.Prefetch, false, stop);
        using var turn = new SemaphoreSlim(1);
        var (last, acknowledged) = (0UL, 0UL);
        var consumer = new AsyncEventingBasicConsumer(channel);
        consumer.ReceivedAsync += async (_, message) =>
        {
            member.Received(message.Body);
            Volatile.Write(ref last, message.DeliveryTag);
            if (!member.Together)
            {
                await channel.BasicAckAsync(message.DeliveryTag, false, CancellationToken.None);
                member.Settled(1);
            }
            else if (message.DeliveryTag - Volatile.Read(ref acknowledged) >= AnchorLimits.AckEvery)
            {
                await AckTogetherAsync();
            }
        };
        await channel.BasicConsumeAsync(member.Queue, autoAck: false, consumer, stop);
        while (!stop.IsCancellationRequested)
        {
            await Task.Delay(TailInterval, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (member.Together && Volatile.Read(ref last) != Volatile.Read(ref acknowledged))
            {
                await AckTogetherAsync();
            }
        }

        // Closing is answered after all that was sent before it.
        await channel.CloseAsync(CancellationToken.None);

        async Task AckTogetherAsync()
        {
            await turn.WaitAsync(CancellationToken.None);
            var to = Volatile.Read(ref last);
            var count = (int)(to - acknowledged);
            if (count > 0)
            {
                await channel.BasicAckAsync(to, true, CancellationToken.None);
                Volatile.Write(ref acknowledged, to);
            }

            turn.Release();
            member.Settled(count);
        }
    }

    /// <summary>
    /// What members held comes back when their channels are closed, so that what is ready is all. Nodes count it every
    /// few seconds.
    /// </summary>
    public async Task<long> LeftAsync(string queue, CancellationToken cancellationToken)
    {
        _admin ??= await OpenAsync(0, null, cancellationToken);
        return (await _admin.QueueDeclarePassiveAsync(queue, cancellationToken)).MessageCount;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var connection in _connections)
        {
            await connection.DisposeAsync();
        }

        // Their data is thrown away: a node that is asked to end takes its time. The name server ends last.
        await _processes.KillAsync([.. Enumerable.Range(0, Epmd + 1).Where(_processes.IsRunning)]);
        await _processes.DisposeAsync();
    }

    private async Task StartAsync(CancellationToken cancellationToken)
    {
        await File.WriteAllTextAsync(Path.Combine(_folder, "plugins"), "[].", cancellationToken);
        await File.WriteAllTextAsync(Path.Combine(_folder, "env"), "", cancellationToken);
        await File.WriteAllTextAsync(
            Path.Combine(_folder, "rabbitmq.conf"),
            "loopback_users = none\nvm_memory_high_watermark.relative = 0.2\ndisk_free_limit.absolute = 1GB\n",
            cancellationToken);
        var cookie = Path.Combine(_folder, ".erlang.cookie");
        await File.WriteAllTextAsync(cookie, "ANCHORS", cancellationToken);
        if (!OperatingSystem.IsWindows())
        {
            // Erlang takes no cookie that others may read.
            File.SetUnixFileMode(cookie, UnixFileMode.UserRead);
        }

        var epmd = new[] { "-port", _epmd.ToString(CultureInfo.InvariantCulture), "-address", "127.0.0.1" };
        _processes.Start(Epmd, "epmd", epmd, new Dictionary<string, string>(), "epmd");
        for (var node = 0; node < AnchorLimits.Nodes; node++)
        {
            _processes.Start(node, $"rabbit-{node}", [], Environment(node), Path.Combine(_bin, "rabbitmq-server"));
        }

        for (var node = 0; node < AnchorLimits.Nodes; node++)
        {
            await WaitAsync(node, cancellationToken);
        }

        for (var node = 1; node < AnchorLimits.Nodes; node++)
        {
            await ControlAsync(node, cancellationToken, "stop_app");
            await ControlAsync(node, cancellationToken, "join_cluster", "rabbit0@localhost");
            await ControlAsync(node, cancellationToken, "start_app");
        }
    }

    /// <summary>Until clients can connect, which comes last in a node's start.</summary>
    private async Task WaitAsync(int node, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(AnchorLimits.Start);
        while (true)
        {
            using var socket = new TcpClient();
            try
            {
                await socket.ConnectAsync("127.0.0.1", _ports[node], deadline.Token);
                return;
            }
            catch (SocketException)
            {
                _processes.ThrowIfEnded(node);
                await Task.Delay(AnchorLimits.AskAgain, deadline.Token);
            }
        }
    }

    private Dictionary<string, string> Environment(int node)
    {
        string In(string name) => Path.Combine(_folder, name);
        string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
        return new Dictionary<string, string>
        {
            ["HOME"] = _folder,
            ["RABBITMQ_NODENAME"] = $"rabbit{node}@localhost",
            ["RABBITMQ_NODE_IP_ADDRESS"] = "127.0.0.1",
            ["RABBITMQ_NODE_PORT"] = Text(_ports[node]),
            ["RABBITMQ_DIST_PORT"] = Text(_distribution[node]),
            ["ERL_EPMD_PORT"] = Text(_epmd),
            ["ERL_EPMD_ADDRESS"] = "127.0.0.1",
            ["RABBITMQ_MNESIA_BASE"] = In("data"),
            ["RABBITMQ_LOG_BASE"] = In("log"),
            ["RABBITMQ_PID_FILE"] = In($"rabbit-{node}.pid"),
            ["RABBITMQ_ENABLED_PLUGINS_FILE"] = In("plugins"),
            ["RABBITMQ_CONFIG_FILE"] = In("rabbitmq"),
            ["RABBITMQ_ADVANCED_CONFIG_FILE"] = In("none"),
            ["RABBITMQ_GENERATED_CONFIG_DIR"] = In($"generated-{node}"),
            ["RABBITMQ_CONF_ENV_FILE"] = In("env"),

            // Schedulers that wait do not spin: three nodes share this machine, and others are measured here too.
            ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = "+sbwt none +sbwtdcpu none +sbwtdio none",
        };
    }

    /// <summary>Runs rabbitmqctl for a node.</summary>
    private async Task ControlAsync(int node, CancellationToken cancellationToken, params string[] arguments)
    {
        var start = new ProcessStartInfo(
            Path.Combine(_bin, "rabbitmqctl"), ["-n", $"rabbit{node}@localhost", .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (variable, value) in Environment(node))
        {
            start.Environment[variable] = value;
        }

        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync(cancellationToken);
        var errors = process.StandardError.ReadToEndAsync(cancellationToken);
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(2 * AnchorLimits.Start);
        await process.WaitForExitAsync(deadline.Token);
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException(
                $"rabbitmqctl {string.Join(' ', arguments)} ended with {process.ExitCode}: "
                + $"{await output} {await errors}");
        }
    }

    /// <summary>A channel on a connection of its own.</summary>
    private async Task<IChannel> OpenAsync(
        int node, CreateChannelOptions? options, CancellationToken cancellationToken)
    {
        var factory = new ConnectionFactory { HostName = "127.0.0.1", Port = _ports[node] };
        var deadline = Stopwatch.GetTimestamp() + (long)(AnchorLimits.Answer.TotalSeconds * Stopwatch.Frequency);
        while (true)
        {
            try
            {
                var connection = await factory.CreateConnectionAsync(cancellationToken);
                lock (_connections)
                {
                    _connections.Add(connection);
                }

                return await connection.CreateChannelAsync(options, cancellationToken);
            }
            catch (Exception error) when (
                error is BrokerUnreachableException or SocketException && Stopwatch.GetTimestamp() < deadline)
            {
                await Task.Delay(AnchorLimits.AskAgain, cancellationToken);
            }
        }
    }

    private sealed class Publisher(IChannel channel, string queue) : IAnchorPublisher
    {
        private static readonly BasicProperties Durable = new() { DeliveryMode = DeliveryModes.Persistent };

        public async ValueTask<bool> PublishAsync(ReadOnlyMemory<byte> value)
        {
            try
            {
                await channel.BasicPublishAsync("", queue, false, Durable, value);
                return true;
            }
            catch (RabbitMQClientException error)
            {
                throw new IOException(error.Message, error);
            }
        }

        public ValueTask DisposeAsync() => channel.DisposeAsync();
    }
}
