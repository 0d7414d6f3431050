using System.Diagnostics;
using System.Globalization;
using NATS.Client.Core;
using NATS.Client.JetStream;
using NATS.Client.JetStream.Models;

namespace Broker.Tests.Benchmarks.Anchors;

/// <summary>NATS JetStream: a queue is a stream with three replicas on disk and a durable pull consumer.</summary>
internal sealed class NatsAnchor : IAnchor
{
    private const string Consumer = "group";
    private static readonly Version SyncInterval = new(2, 10);

    private readonly string _server;
    private readonly string _folder;
    private readonly bool _flushes;
    private readonly NodeProcesses _processes;
    private readonly int[] _ports;
    private readonly int[] _routes;
    private readonly List<NatsConnection> _members = [];
    private NatsConnection? _admin;

    private NatsAnchor(string server, string folder, bool flushes)
    {
        (_server, _folder, _flushes) = (server, folder, flushes);
        _processes = new NodeProcesses(folder, AnchorLimits.Nodes);
        var ports = FreePorts.Take(2 * AnchorLimits.Nodes);
        _ports = ports[..AnchorLimits.Nodes];
        _routes = ports[AnchorLimits.Nodes..];
    }

    public bool HasGroups => true;

    public bool AcksTogether => false;

    public AckProof Acks => AckProof.AskedFor;

    /// <summary>What nats-server --version says.</summary>
    public static Version VersionOf(string server)
    {
        using var process = Process.Start(
            new ProcessStartInfo(server, ["--version"]) { RedirectStandardOutput = true })!;
        var text = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return Version.Parse(text[(text.IndexOf('v', text.IndexOf(':')) + 1)..].Trim().Split('-')[0]);
    }

    /// <summary>How each write is made to be flushed: by a setting, or, before there was one, by the files'.</summary>
    public static string HowItFlushes(Version version) =>
        version >= SyncInterval ? "sync_interval always" : "each write flushed (chattr +S)";

    /// <param name="server">The program.</param>
    /// <param name="folder">Where the nodes keep data and logs.</param>
    /// <param name="flushes">Each write is flushed; else as shipped: every two minutes.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    public static async Task<IAnchor> StartAsync(
        string server, string folder, bool flushes, CancellationToken cancellationToken)
    {
        var anchor = new NatsAnchor(server, folder, flushes);
        try
        {
            for (var node = 0; node < AnchorLimits.Nodes; node++)
            {
                anchor.StartNode(node);
            }

            anchor._admin = anchor.Connect(0);
            await anchor.WaitAsync(cancellationToken);
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
        var context = Context(_admin!);
        await context.CreateStreamAsync(
            new StreamConfig(queue, [queue]) { NumReplicas = AnchorLimits.Nodes, Storage = StreamConfigStorage.File },
            cancellationToken);
        await context.CreateOrUpdateConsumerAsync(
            queue,
            new ConsumerConfig(Consumer)
            {
                AckPolicy = ConsumerConfigAckPolicy.Explicit,
                DeliverPolicy = ConsumerConfigDeliverPolicy.All,
                MaxAckPending = 8 * AnchorLimits.Prefetch,
            },
            cancellationToken);
    }

    public async Task<IAnchorPublisher> PublisherAsync(string queue, CancellationToken cancellationToken)
    {
        var stream = await Context(_admin!).GetStreamAsync(queue, cancellationToken: cancellationToken);
        var leader = stream.Info.Cluster?.Leader ?? NameOf(0);
        var node = Enumerable.Range(0, AnchorLimits.Nodes).First(each => NameOf(each) == leader);
        var connection = Connect(node);
        await connection.ConnectAsync();
        return new Publisher(connection, Context(connection), queue);
    }

    public async Task ConsumeAsync(AnchorMember member, CancellationToken stop)
    {
        var connection = Connect(member.Number % AnchorLimits.Nodes);
        lock (_members)
        {
            _members.Add(connection);
        }

        var consumer = await Context(connection).GetConsumerAsync(member.Queue, Consumer, stop);
        try
        {
            var options = new NatsJSConsumeOpts { MaxMsgs = AnchorLimits.Prefetch };
            await foreach (var message in consumer.ConsumeAsync<NatsMemoryOwner<byte>>(
                opts: options, cancellationToken: stop))
            {
                using (var value = message.Data)
                {
                    member.Received(value.Memory);
                }

                await message.AckAsync(cancellationToken: stop);
                member.Settled(1);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // Told to end.
        }

        // What was sent before it has been read by the node when it is answered.
        await connection.PingAsync(CancellationToken.None);
    }

    public async Task<long> LeftAsync(string queue, CancellationToken cancellationToken)
    {
        var consumer = await Context(_admin!).GetConsumerAsync(queue, Consumer, cancellationToken);
        return (long)consumer.Info.NumPending + consumer.Info.NumAckPending;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var member in _members)
        {
            await member.DisposeAsync();
        }

        if (_admin is not null)
        {
            await _admin.DisposeAsync();
        }

        await _processes.DisposeAsync();
    }

    private static string NameOf(int node) => string.Create(CultureInfo.InvariantCulture, $"nats-{node + 1}");

    private void StartNode(int node)
    {
        var home = Path.Combine(_folder, NameOf(node));
        var store = Path.Combine(home, "store");
        Directory.CreateDirectory(store);
        var version = VersionOf(_server);
        var sync = "";
        if (_flushes && version >= SyncInterval)
        {
            sync = ", sync_interval: always";
        }
        else if (_flushes)
        {
            using var chattr = Process.Start("chattr", ["+S", store]);
            chattr.WaitForExit();
            if (chattr.ExitCode != 0)
            {
                throw new InvalidOperationException(
                    $"NATS {version} has no sync_interval, and 'chattr +S' failed: not root, or no such file system.");
            }
        }

        var routes = string.Join(", ", _routes.Select(static port => $"\"nats://127.0.0.1:{port}\""));
        var config = Path.Combine(home, "nats.conf");
        File.WriteAllText(
            config,
            $$"""
            server_name: {{NameOf(node)}}
            listen: 127.0.0.1:{{_ports[node]}}
            max_pending: 256MB
            jetstream { store_dir: "{{store}}", max_memory_store: 1GB, max_file_store: 40GB{{sync}} }
            cluster { name: anchors, listen: 127.0.0.1:{{_routes[node]}}, routes: [{{routes}}] }
            """);
        _processes.Start(node, NameOf(node), ["-c", config], new Dictionary<string, string>(), _server);
    }

    /// <summary>Until a stream with three replicas can be made.</summary>
    private async Task WaitAsync(CancellationToken cancellationToken)
    {
        var deadline = Stopwatch.GetTimestamp() + (long)(AnchorLimits.Start.TotalSeconds * Stopwatch.Frequency);
        while (true)
        {
            try
            {
                await MakeQueueAsync("start", cancellationToken);
                return;
            }
            catch (Exception error) when (error is NatsException && Stopwatch.GetTimestamp() < deadline)
            {
                for (var node = 0; node < AnchorLimits.Nodes; node++)
                {
                    _processes.ThrowIfEnded(node);
                }

                await Task.Delay(AnchorLimits.AskAgain, cancellationToken);
            }
        }
    }

    private NatsConnection Connect(int node) => new(new NatsOpts
    {
        Url = $"nats://127.0.0.1:{_ports[node]}",
        RequestTimeout = AnchorLimits.Answer,
        CommandTimeout = AnchorLimits.Answer,
        RetryOnInitialConnect = true,
        ReconnectWaitMin = AnchorLimits.AskAgain,
        ReconnectWaitMax = AnchorLimits.AskAgain,
    });

    private static NatsJSContext Context(NatsConnection connection) => new(connection);

    private sealed class Publisher(NatsConnection connection, NatsJSContext context, string subject) : IAnchorPublisher
    {
        public async ValueTask<bool> PublishAsync(ReadOnlyMemory<byte> value)
        {
            try
            {
                var ack = await context.PublishAsync(subject, value);
                ack.EnsureSuccess();
                return true;
            }
            catch (Exception error) when (error is NatsException or OperationCanceledException)
            {
                throw new IOException(error.Message, error);
            }
        }

        public ValueTask DisposeAsync() => connection.DisposeAsync();
    }
}
