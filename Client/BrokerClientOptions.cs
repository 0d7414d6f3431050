using System.Net.Security;
using Broker.Client.Connections;
using Microsoft.Extensions.Configuration;

namespace Broker.Client;

/// <summary>
/// Settings of a <see cref="BrokerClient"/>. AddBrokerClient reads them with <see cref="FromConfiguration"/>.
/// <para>
/// What a client holds at most: messages that are published, <see cref="MaxBufferedBytes"/>, and the callers' own
/// copies of <see cref="MaxWaitingPublishes"/> more; for each read and each subscription one page of at most 5 MiB and
/// 2 MiB behind it; for each consumer <see cref="ConsumeOptions.MaxUnsettledBytes"/>; 16,000 settlements under way; 64
/// brokers; 256 events for each enumeration of <see cref="BrokerClient.WatchConnectionsAsync"/>; and the names of up to
/// 100,000 topics that it publishes to. What comes above a bound waits, or fails with ResourceExhausted.
/// </para>
/// </summary>
public sealed record BrokerClientOptions
{
    /// <summary>
    /// Base addresses of the gRPC endpoints of any brokers, e.g. http://localhost:7001. One that lives is enough: the
    /// others are learned. Name several, so that the client starts while one is down. At least 1, at most 64. No
    /// default.
    /// </summary>
    public IReadOnlyList<Uri> Addresses { get; init; } = [];

    /// <summary>Names this client in its logs. Default: the process's name.</summary>
    public string ClientName { get; init; } = AppDomain.CurrentDomain.FriendlyName;

    /// <summary>How long one publish may take in all, with every retry. Default 30 s.</summary>
    public TimeSpan PublishTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How long the other calls go on trying when no broker answers. A read counts from its last record, and a read
    /// that follows never gives up. Default 30 s.
    /// </summary>
    public TimeSpan OperationTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a connection may take to open. Default 500 ms.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>
    /// A broker that owes an answer for so long is left, and the request is sent elsewhere. A batch that waits in vain
    /// doubles its patience each time, up to eightfold, so that a slow disk is not mistaken for a dead one for ever.
    /// Default 1 s.
    /// </summary>
    public TimeSpan AnswerTimeout { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>
    /// How long DisposeAsync waits for the answers to what was begun before. At the end of it the rest fails. 0: not at
    /// all. Default 5 s.
    /// </summary>
    public TimeSpan DrainTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>The least upper bound of the random wait before a retry. Default 10 ms.</summary>
    public TimeSpan RetryDelayMin { get; init; } = TimeSpan.FromMilliseconds(10);

    /// <summary>
    /// The greatest upper bound of that wait. Between the two the bound is a third of the time since the first failure,
    /// so that it grows exponentially and a short failover is not slept through. Default 500 ms.
    /// </summary>
    public TimeSpan RetryDelayMax { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>
    /// A batch is sent at this size. A larger message makes a batch of its own. Default 256 KiB, at most 4 MiB less
    /// 1 KiB.
    /// </summary>
    public int BatchBytes { get; init; } = 256 * 1024;

    /// <summary>A batch is sent at so many messages. Default 4096, at most 16,384.</summary>
    public int BatchRecords { get; init; } = 4096;

    /// <summary>
    /// Batches of one topic that are sent and not answered yet. Default 4, at most 16: the brokers remember so many
    /// batches of a producer to recognize the second copy of each.
    /// </summary>
    public int MaxInFlightBatchesPerTopic { get; init; } = 4;

    /// <summary>
    /// Bytes of messages that may wait for their answers. Beyond it PublishAsync waits for room, up to PublishTimeout
    /// and in the order of the calls. Default 64 MiB.
    /// </summary>
    public long MaxBufferedBytes { get; init; } = 64 * 1024 * 1024;

    /// <summary>
    /// Calls that may wait for room; beyond it a publish fails at once with ResourceExhausted. Default 65,536.
    /// </summary>
    public int MaxWaitingPublishes { get; init; } = 65_536;

    /// <summary>
    /// Id of the producer behind PublishAsync. Default 0: drawn at random, which is right for almost everyone. Any
    /// other value must never have published to this cluster before: sequences begin at 0, and the brokers would take
    /// them for duplicates.
    /// </summary>
    public ulong ProducerId { get; init; }

    /// <summary>
    /// How values become messages, see <see cref="BrokerClient.PublishValueAsync{T}"/>; set in code, not by
    /// configuration. Default: <see cref="MessageSerializer.Default"/>.
    /// </summary>
    public IMessageSerializer Serializer { get; init; } = MessageSerializer.Default;

    /// <summary>
    /// How TLS is spoken with brokers at https addresses: client certificates, who may have issued the brokers'
    /// certificate, protocol versions; set in code, not by configuration. Each broker is called by the name in its
    /// address. Null, the default: no client certificate, and what the system trusts.
    /// </summary>
    public SslClientAuthenticationOptions? Tls { get; init; }

    /// <summary>
    /// Asked, with the broker's address, for the value of the header "authorization" of every call and of every stream
    /// when it opens, for example "Bearer abc"; null: none. It should keep what it has got until that expires. When it
    /// throws, the call is made again, as if there were no connection. Set in code, not by configuration. It is only
    /// used over https and on this machine: brokers elsewhere at http addresses are refused. Null, the default: no
    /// credentials.
    /// </summary>
    public Func<Uri, CancellationToken, ValueTask<string?>>? Credentials { get; init; }

    /// <summary>
    /// Reads the options from sections Aspire:Broker:Client and, above it, Aspire:Broker:Client:{connectionName}. The
    /// addresses are those of ConnectionStrings:{connectionName}, e.g. "http://a:7001;http://b:7001", or else of these
    /// sections, or else of service discovery: services:{connectionName}:grpc:0 and services:{connectionName}-1:grpc:0,
    /// -2 and so on, as Aspire sets them; or none.
    /// </summary>
    /// <param name="configuration">The program's configuration.</param>
    /// <param name="connectionName">
    /// Name of the connection string, and of the brokers before their number. Default "broker".
    /// </param>
    /// <returns>The options.</returns>
    /// <exception cref="InvalidOperationException">A setting cannot be read; the message names it.</exception>
    public static BrokerClientOptions FromConfiguration(
        IConfiguration configuration, string connectionName = "broker")
    {
        ArgumentNullException.ThrowIfNull(configuration);
        ArgumentException.ThrowIfNullOrEmpty(connectionName);
        return OptionsReader.Read(configuration, connectionName);
    }

    /// <summary>The same, for where the addresses come as a connection string.</summary>
    /// <param name="connectionString">Addresses with semicolons between, e.g. "http://a:7001;http://b:7001".</param>
    /// <returns>Options that are the same but for their addresses.</returns>
    /// <exception cref="InvalidOperationException">One of them is no address.</exception>
    public BrokerClientOptions WithConnectionString(string connectionString)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(connectionString);
        return this with { Addresses = OptionsReader.ParseAddresses(connectionString, "in code") };
    }

    internal BrokerClientOptions Validated()
    {
        Require(
            Addresses.Count is >= 1 and <= 64,
            $"{nameof(Addresses)} names {Addresses.Count} brokers; name 1 to 64.");
        foreach (var address in Addresses)
        {
            Require(
                address is { IsAbsoluteUri: true, Scheme: "http" or "https" },
                $"{nameof(Addresses)} holds '{address}'; expected an http or https base address, "
                + "for example http://localhost:7001.");
            Require(
                Credentials is null || AuthorizationHandler.IsSafe(address),
                $"{nameof(Credentials)} would be sent to '{address}' for everyone to read; use an https address.");
        }

        Require(PublishTimeout > TimeSpan.Zero, $"{nameof(PublishTimeout)} must be above zero.");
        Require(OperationTimeout > TimeSpan.Zero, $"{nameof(OperationTimeout)} must be above zero.");
        Require(ConnectTimeout > TimeSpan.Zero, $"{nameof(ConnectTimeout)} must be above zero.");
        Require(AnswerTimeout > TimeSpan.Zero, $"{nameof(AnswerTimeout)} must be above zero.");
        Require(DrainTimeout >= TimeSpan.Zero, $"{nameof(DrainTimeout)} must not be negative.");
        Require(RetryDelayMin > TimeSpan.Zero, $"{nameof(RetryDelayMin)} must be above zero.");
        Require(RetryDelayMax >= RetryDelayMin, $"{nameof(RetryDelayMax)} must not be below {nameof(RetryDelayMin)}.");
        Require(
            BatchBytes is >= 1 and <= MessageLimits.BatchBytes,
            $"{nameof(BatchBytes)} is {BatchBytes}; expected 1 to {MessageLimits.BatchBytes:N0}.");
        Require(BatchRecords is >= 1 and <= 16_384, $"{nameof(BatchRecords)} is {BatchRecords}; expected 1 to 16,384.");
        Require(
            MaxInFlightBatchesPerTopic is >= 1 and <= 16,
            $"{nameof(MaxInFlightBatchesPerTopic)} is {MaxInFlightBatchesPerTopic}; expected 1 to 16.");
        Require(MaxBufferedBytes >= 1, $"{nameof(MaxBufferedBytes)} must be above zero.");
        Require(MaxWaitingPublishes >= 0, $"{nameof(MaxWaitingPublishes)} must not be negative.");
        return this;
    }

    private static void Require(bool holds, string message)
    {
        if (!holds)
        {
            throw new ArgumentException($"{nameof(BrokerClientOptions)}: {message}");
        }
    }
}
