namespace Broker.Client;

/// <summary>
/// What operators and programs ask of topics, groups, the cluster and its nodes. <see cref="BrokerClient"/> does it; a
/// test puts its own in place.
/// </summary>
public interface IBrokerAdmin
{
    /// <inheritdoc cref="BrokerClient.CreateTopicAsync(string, TopicSettings, CancellationToken)"/>
    ValueTask<TopicSettings> CreateTopicAsync(
        string topic, TopicSettings? settings = null, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.UpdateTopicAsync(string, TopicSettings, CancellationToken)"/>
    ValueTask<TopicSettings> UpdateTopicAsync(
        string topic, TopicSettings settings, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.DeleteTopicAsync(string, CancellationToken)"/>
    ValueTask<bool> DeleteTopicAsync(string topic, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.DescribeTopicAsync(string, CancellationToken)"/>
    ValueTask<TopicDetails> DescribeTopicAsync(string topic, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.DescribeTopicAsync(string, bool, CancellationToken)"/>
    ValueTask<TopicDetails> DescribeTopicAsync(
        string topic, bool linearizable, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PurgeTopicBeforeAsync(string, DateTimeOffset, CancellationToken)"/>
    ValueTask<long> PurgeTopicBeforeAsync(
        string topic, DateTimeOffset before, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.ListTopicsAsync(string, CancellationToken)"/>
    ValueTask<IReadOnlyList<TopicInfo>> ListTopicsAsync(
        string filter = ">", CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.ListTopicsPageAsync(string, string, CancellationToken)"/>
    ValueTask<TopicPage> ListTopicsPageAsync(
        string filter, string pageToken, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PurgeTopicAsync(string, long?, CancellationToken)"/>
    ValueTask<long> PurgeTopicAsync(
        string topic, long? beforeOffset = null, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PurgePartitionAsync(string, int, long?, CancellationToken)"/>
    ValueTask<long> PurgePartitionAsync(
        string topic, int partition, long? beforeOffset = null, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.GetServerInfoAsync(CancellationToken)"/>
    ValueTask<ServerInfo> GetServerInfoAsync(CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.DescribeClusterAsync(CancellationToken)"/>
    ValueTask<ClusterInfo> DescribeClusterAsync(CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.DescribeNodeAsync(Uri, CancellationToken)"/>
    ValueTask<ClusterInfo> DescribeNodeAsync(Uri address, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.ForceRecoveryAsync(
    /// Uri, int, int, string, string, IReadOnlyList{int}, CancellationToken)"/>
    ValueTask<RecoveryReport> ForceRecoveryAsync(
        Uri address,
        int shard,
        int nodeId,
        string operatorName,
        string confirmation = "",
        IReadOnlyList<int>? goneNodes = null,
        CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PutLiveSubscriptionAsync(string, IReadOnlyList{string}, CancellationToken)"/>
    ValueTask PutLiveSubscriptionAsync(
        string name, IReadOnlyList<string> filters, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.DeleteLiveSubscriptionAsync(string, CancellationToken)"/>
    ValueTask DeleteLiveSubscriptionAsync(string name, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.CreateGroupAsync(string, GroupSettings, GroupPlace, CancellationToken)"/>
    ValueTask<GroupSettings> CreateGroupAsync(
        string group, GroupSettings settings, GroupPlace? start = null, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.UpdateGroupAsync(string, GroupSettings, CancellationToken)"/>
    ValueTask<GroupSettings> UpdateGroupAsync(
        string group, GroupSettings settings, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.ListGroupsAsync(string, bool, CancellationToken)"/>
    ValueTask<IReadOnlyList<GroupInfo>> ListGroupsAsync(
        string prefix = "", bool figures = false, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.DescribeGroupAsync(string, CancellationToken)"/>
    ValueTask<GroupDetails> DescribeGroupAsync(string group, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.DeleteGroupAsync(string, CancellationToken)"/>
    ValueTask<bool> DeleteGroupAsync(string group, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.SeekGroupAsync(string, GroupPlace, string, int?, CancellationToken)"/>
    ValueTask<IReadOnlyList<GroupProgressInfo>> SeekGroupAsync(
        string group,
        GroupPlace to,
        string? topic = null,
        int? partition = null,
        CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.ListDeadLettersAsync(string, CancellationToken)"/>
    IAsyncEnumerable<DeadLetter> ListDeadLettersAsync(string group, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.RedriveDeadLettersAsync(
    /// string, IEnumerable{DeadLetterPosition}, int?, CancellationToken)"/>
    ValueTask<long> RedriveDeadLettersAsync(
        string group,
        IEnumerable<DeadLetterPosition>? positions = null,
        int? ratePerSecond = null,
        CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PurgeDeadLettersAsync(
    /// string, IEnumerable{DeadLetterPosition}, CancellationToken)"/>
    ValueTask<long> PurgeDeadLettersAsync(
        string group, IEnumerable<DeadLetterPosition>? positions = null, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PeekGroupAsync(string, DeliveryState, CancellationToken)"/>
    IAsyncEnumerable<PeekedRecord> PeekGroupAsync(
        string group, DeliveryState state, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.ListDelayedAsync(string, int?, CancellationToken)"/>
    IAsyncEnumerable<DelayedMessage> ListDelayedAsync(
        string topic, int? partition = null, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.CancelDelayedAsync(string, IEnumerable{long}, int, CancellationToken)"/>
    ValueTask<int> CancelDelayedAsync(
        string topic, IEnumerable<long> offsets, int partition = 0, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.PutTopicTemplateAsync(string, TopicSettings, CancellationToken)"/>
    ValueTask PutTopicTemplateAsync(
        string filter, TopicSettings settings, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.DeleteTopicTemplateAsync(string, CancellationToken)"/>
    ValueTask DeleteTopicTemplateAsync(string filter, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.ListTopicTemplatesAsync(CancellationToken)"/>
    ValueTask<TopicRules> ListTopicTemplatesAsync(CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.SetAutoCreateAsync(bool, CancellationToken)"/>
    ValueTask SetAutoCreateAsync(bool enabled, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.AddNodeAsync(string, Uri, CancellationToken)"/>
    ValueTask<int> AddNodeAsync(string name, Uri address, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.RemoveNodeAsync(int, CancellationToken)"/>
    ValueTask RemoveNodeAsync(int nodeId, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.DrainNodeAsync(int, CancellationToken)"/>
    ValueTask<IReadOnlyList<int>> DrainNodeAsync(int nodeId, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.UndrainNodeAsync(int, CancellationToken)"/>
    ValueTask UndrainNodeAsync(int nodeId, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.SetShardVotersAsync(int, CancellationToken)"/>
    ValueTask SetShardVotersAsync(int count, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.SetShardReplicasAsync(int, CancellationToken)"/>
    ValueTask SetShardReplicasAsync(int count, CancellationToken cancellationToken = default);

    /// <inheritdoc cref="BrokerClient.TransferLeadershipAsync(int, int, CancellationToken)"/>
    ValueTask<int> TransferLeadershipAsync(int shard, int toNode = 0, CancellationToken cancellationToken = default);
}
