using Broker.Domain;
using Broker.Groups;

namespace Broker.Delivery;

/// <summary>
/// What nodes ask of the groups of one shard, at the node that leads it: on this node itself, or over a link. Any
/// thread; nothing here blocks.
/// </summary>
internal interface IGroupShard
{
    /// <summary>
    /// Begins a consumer; what it gets goes to the outlet, until it is closed or the outlet hears its end.
    /// </summary>
    /// <param name="session">The consumer.</param>
    /// <param name="openedUnixMs">Since when there is a client, whichever leaders it had.</param>
    /// <param name="group">The group's number.</param>
    /// <param name="consumer">Its name.</param>
    /// <param name="outlet">Where its records go.</param>
    void Open(SessionKey session, long openedUnixMs, int group, string consumer, IGroupOutlet outlet);

    /// <summary>It may be given so much more.</summary>
    void AddCredit(SessionKey session, int records, long bytes);

    /// <summary>Asks for the credit that the consumer has left; the outlet hears what it was.</summary>
    void Recall(SessionKey session);

    /// <summary>Deliveries that did not reach the client: as if they had not been made.</summary>
    void GiveBack(int group, DeliveryToken token);

    /// <summary>
    /// The consumer goes, unless it was opened anew with another outlet. What it holds stays its own until the leases
    /// end.
    /// </summary>
    void Close(SessionKey session, IGroupOutlet outlet);

    /// <summary>Settles records; see <see cref="IConsumerGroups.SettleAsync"/>.</summary>
    Task<SettleOutcome[]> SettleAsync(IReadOnlyList<TokenOrder> orders, CancellationToken cancellationToken);

    Task<GroupReport> ReportAsync(int group, CancellationToken cancellationToken);

    /// <summary>Records of this shard; see <see cref="IConsumerGroups.PeekAsync"/>.</summary>
    Task<IReadOnlyList<PeekedPlace>> PeekAsync(
        int group, PeekState state, PlaceOfRecord? after, int most, CancellationToken cancellationToken);

    Task<IReadOnlyList<PlaceReport>> SeekAsync(
        int group, string topic, int? partition, GroupSeek target, CancellationToken cancellationToken);

    /// <summary>Takes dead letters; see <see cref="IConsumerGroups.TakeDeadLettersAsync"/>.</summary>
    Task<DeadTaken> TakeDeadLettersAsync(int group, DeadOrder order, CancellationToken cancellationToken);
}

/// <summary>Where what a consumer gets from one shard goes. Any thread; must not block.</summary>
internal interface IGroupOutlet
{
    /// <summary>The shard's leader knows the consumer, and delivers from now on.</summary>
    void Opened();

    void Deliver(in GroupDelivery delivery);

    /// <summary>There is more than the consumer has credit for.</summary>
    void WantsCredit();

    /// <summary>
    /// Once: the leader has nothing for the consumer now, but what was delivered before this. What comes later is
    /// delivered all the same.
    /// </summary>
    void Quiet();

    /// <summary>The answer to a recall.</summary>
    void Returned(int records, long bytes);

    /// <summary>
    /// Nothing more comes: the group is gone, or the shard is led by another node, or the link broke.
    /// </summary>
    void Ended(BrokerException why);
}

/// <summary>A consumer of a node.</summary>
/// <param name="Node">Where its client is.</param>
/// <param name="Number">Given once by a process of that node.</param>
internal readonly record struct SessionKey(NodeId Node, long Number);

/// <summary>An order of which the token was read.</summary>
/// <param name="Group">The group's number.</param>
/// <param name="Kind">What is to become of the records.</param>
/// <param name="Token">Names them.</param>
/// <param name="DelayMs">See <see cref="SettleRequest.DelayMs"/>.</param>
/// <param name="Reason">Of Terminate.</param>
internal readonly record struct TokenOrder(
    int Group, SettleKind Kind, DeliveryToken Token, long? DelayMs, string? Reason);
