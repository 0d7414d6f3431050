namespace Aspire.Hosting.ApplicationModel;

/// <summary>A Postgres server.</summary>
public class PostgresServerResource : ContainerResource, IResourceWithConnectionString
{
    internal const string PrimaryEndpointName = "tcp";
    internal const string DefaultUserName = "postgres";

    private readonly Dictionary<string, string> _databases = new(StringComparer.OrdinalIgnoreCase);

    public PostgresServerResource(string name, ParameterResource? userName, ParameterResource password)
        : base(name)
    {
        UserNameParameter = userName;
        PasswordParameter = password;
        PrimaryEndpoint = new EndpointReference(this, PrimaryEndpointName);
    }

    public EndpointReference PrimaryEndpoint { get; }

    public ParameterResource? UserNameParameter { get; }

    public ParameterResource PasswordParameter { get; }

    /// <summary>Resource name to database name.</summary>
    public IReadOnlyDictionary<string, string> Databases => _databases;

    public ReferenceExpression UserNameReference => UserNameParameter is { } parameter
        ? ReferenceExpression.Create($"{parameter}")
        : ReferenceExpression.Create($"{DefaultUserName}");

    public ReferenceExpression ConnectionStringExpression => ReferenceExpression.Create(
        $"Host={PrimaryEndpoint.Property(EndpointProperty.Host)};" +
        $"Port={PrimaryEndpoint.Property(EndpointProperty.Port)};" +
        $"Username={UserNameReference};Password={PasswordParameter}");

    internal void AddDatabase(string name, string databaseName) => _databases.Add(name, databaseName);
}
